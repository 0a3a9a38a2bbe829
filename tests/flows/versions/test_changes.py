"""What changed between two versions of a view is told apart."""

from dataclasses import replace

from flows.versions.changes import Picture, compare

OLD = [
    Picture("train", index, f"{'ab'[index % 2]}/{index}.jpg", f"content {index}", "", {"label": "ab"[index % 2]})
    for index in range(10)
]


def told(new, old=OLD):
    comparison = compare(old, new)
    return {(change.kind, change.name, change.detail) for change in comparison.changes}, comparison.renamed_classes


def edited(**changes):
    """``OLD`` with picture i changed by ``_i={...}``."""
    return [replace(picture, **changes.get(f"_{picture.row}", {})) for picture in OLD]


def test_nothing_changed_in_another_order():
    assert told([replace(picture, row=9 - picture.row) for picture in reversed(OLD)]) == (set(), [])


def test_each_kind_of_change():
    new = edited(
        _1={"name": "b/other.jpg"},
        _2={"classes": {"label": "b"}, "name": "b/2.jpg"},
        _3={"content": "other"},
        _4={"annotations": "other"},
        _5={"split": "test"},
    )
    new = [*new[:7], *new[8:], Picture("test", 0, "a/new.jpg", "new", "", {"label": "a"})]
    assert told(new) == (
        {
            ("renamed", "b/other.jpg", "b/1.jpg -> b/other.jpg"),
            ("relabelled", "b/2.jpg", "label: a -> b"),
            ("renamed", "b/2.jpg", "a/2.jpg -> b/2.jpg"),
            ("changed", "b/3.jpg", ""),
            ("annotated", "a/4.jpg", ""),
            ("moved", "b/5.jpg", "train -> test"),
            ("removed", "b/7.jpg", ""),
            ("added", "a/new.jpg", ""),
        },
        [],
    )


def test_a_renamed_class_is_one_line_and_not_a_change_of_each_picture():
    new = [
        replace(picture, name=picture.name.replace("a/", "c/"), classes={"label": picture.classes["label"].replace("a", "c")})
        for picture in OLD
    ]
    assert told(new) == (set(), [("label", "a", "c")])


def test_a_class_that_was_split_or_merged_was_relabelled():
    split = edited(_0={"classes": {"label": "c"}}, _2={"classes": {"label": "d"}})
    assert {kind for kind, _, _ in told(split)[0]} == {"relabelled"}
    merged = [replace(picture, classes={"label": "b"}) for picture in OLD]
    assert len(told(merged)[0]) == 5
    assert told(merged)[1] == []


def test_copies_of_a_picture_are_counted():
    twice = [*OLD, replace(OLD[0], name="a/copy.jpg", row=10)]
    assert told(twice) == ({("added", "a/copy.jpg", "")}, [])
    assert told(OLD, old=twice) == ({("removed", "a/copy.jpg", "")}, [])
    same_name = [*OLD, replace(OLD[0], split="test", content="x"), replace(OLD[0], split="validation", content="y")]
    assert len(compare(same_name, OLD).changes) == 2


def test_places_in_an_array_are_no_names():
    old = [replace(picture, name=f"all.image.npy[{picture.row}]") for picture in OLD]
    new = [replace(picture, name=f"all.image.npy[{picture.row - 1}]") for picture in OLD[1:]]
    assert told(new, old) == ({("removed", "all.image.npy[0]", "")}, [])
