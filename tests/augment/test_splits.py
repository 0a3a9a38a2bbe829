"""Splits: in proportion, by content, equal images on one side, whole classes held out."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from components.stages.augment.divide import find_conflicts
from components.stages.augment.policy.policies import Splits
from components.stages.augment.split import apportion, find_leaks, make_splits


def split(digests, labels, settings, *, published=None, fonts=None, seed=0):
    labels = np.asarray(labels)
    columns = {"label": (labels, tuple("abcdefghij"))}
    if fonts is not None:
        columns["font"] = (np.asarray(fonts), ("f0", "f1", "f2", "f3"))
    return make_splits(
        published or {"all": np.arange(len(labels))},
        settings,
        digests=digests,
        columns=columns,
        primary="label",
        seed=seed,
        key="views.v.split",
    )


def digests_of(items):
    return [hashlib.sha256(str(item).encode()).digest() for item in items]


def test_counts_are_stratified_and_exact():
    labels = np.repeat(np.arange(10), [100, 90, 80, 70, 60, 50, 40, 30, 20, 11])
    found = split(digests_of(range(551)), labels, Splits(validation=0.1, test=0.2))
    assert [len(found[name]) for name in ("train", "validation", "test")] == [386, 55, 110]
    assert sorted(np.concatenate(list(found.values()))) == list(range(551))
    for name, share in (("validation", 0.1), ("test", 0.2)):
        assert np.abs(np.bincount(labels[found[name]]) - share * np.bincount(labels)).max() <= 1


def hashes(count, seed=0):
    return {label: hashlib.sha256(f"{seed}:{label}".encode()).digest() for label in range(count)}


def test_small_classes_do_not_round_to_nothing_all_together():
    """Classes of two: as many as fit have one, and which ones does not depend on the order of their names."""
    found = apportion(dict.fromkeys(range(100), 2), 20.0, hashes(100))
    assert sorted(found.values()) == [0] * 80 + [1] * 20
    chosen = {label for label, share in found.items() if share}
    assert max(chosen) > 60, "not the first classes alone"
    assert apportion(dict.fromkeys(range(100), 2), 20.0, hashes(100, 1)) != found


def test_every_class_of_three_has_a_test_image():
    labels = np.repeat(np.arange(200), 3)
    columns = {"label": (labels, tuple(f"class {i}" for i in range(200)))}
    arguments = {"digests": digests_of(range(600)), "columns": columns, "primary": "label", "seed": 0, "key": "views.v.split"}
    found = make_splits({"all": np.arange(600)}, Splits(validation=0.1, test=0.2), **arguments)
    assert np.bincount(labels[found["test"]], minlength=200).tolist() == [1] * 200
    assert np.bincount(labels[found["train"]], minlength=200).min() == 1
    assert len(found["validation"]) == 60
    assert labels[found["validation"]].max() > 150, "not the first classes alone"


def folded(folds, labels, digests=None, **settings):
    digests = digests_of(range(len(labels))) if digests is None else digests
    return [split(digests, labels, Splits(folds=folds, fold=fold, **settings)) for fold in range(folds)]


def test_folds_test_every_image_once_and_are_stratified():
    labels = np.repeat(np.arange(10), [100, 90, 80, 70, 60, 50, 40, 30, 20, 11])
    found = folded(5, labels, validation=0.1)
    assert sorted(np.concatenate([splits["test"] for splits in found])) == list(range(551))
    for splits in found:
        assert sorted(np.concatenate(list(splits.values()))) == list(range(551))
        assert np.abs(np.bincount(labels[splits["test"]]) - np.bincount(labels) / 5).max() < 1
        assert len(splits["test"]) in (110, 111)
        assert len(splits["validation"]) == 55


def test_folds_do_not_depend_on_the_order_of_files_and_keep_equal_images_together():
    labels, digests = np.arange(90) // 3 % 4, digests_of(i // 3 for i in range(90))
    order = np.random.default_rng(0).permutation(90)
    first = folded(3, labels, digests)[1]["test"]
    second = folded(3, labels[order], [digests[i] for i in order])[1]["test"]
    assert {digests[i] for i in first} == {digests[order[i]] for i in second}
    assert len({digests[i] for i in first}) * 3 == len(first)


def test_folds_of_a_column_hold_out_whole_classes():
    fonts = np.arange(80) % 4
    tests = [
        split(digests_of(range(80)), [0, 1] * 40, Splits(by="font", folds=4, fold=fold), fonts=fonts)["test"]
        for fold in range(4)
    ]
    assert sorted(tuple(set(fonts[rows].tolist())) for rows in tests) == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 5, "test": 0.2}, "folds makes the test split; leave test out"),
        ({"folds": 5, "fold": 5}, "fold 5 is not allowed: the folds are 0 to 4"),
        ({"fold": 1}, "fold needs folds"),
        ({"folds": 5, "validation": 0.8}, "nothing to train on"),
    ],
)
def test_wrong_folds_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Splits(**settings)


def test_folds_need_enough_images_and_no_published_test_split():
    with pytest.raises(ValueError, match=r"views\.v\.split\.folds: 9 is not allowed: there are 8 different images"):
        split(digests_of(range(8)), [0] * 8, Splits(folds=9))
    published = {"train": np.arange(6), "test": np.arange(6, 8)}
    with pytest.raises(ValueError, match=r"split\.folds: the dataset has a published test split"):
        split(digests_of(range(8)), [0] * 8, Splits(folds=2), published=published)


def test_the_side_of_an_image_does_not_depend_on_the_order_of_files_but_on_the_seed():
    labels, digests = np.arange(200) % 4, digests_of(range(200))
    settings = Splits(validation=0.15, test=0.25)
    first = {name: {digests[i] for i in rows} for name, rows in split(digests, labels, settings).items()}
    order = np.random.default_rng(0).permutation(200)
    shuffled = [digests[i] for i in order]
    second = {name: {shuffled[i] for i in rows} for name, rows in split(shuffled, labels[order], settings).items()}
    assert first == second
    other = split(digests, labels, settings, seed=1)
    assert {digests[i] for i in other["test"]} != first["test"]


def test_equal_images_stay_on_one_side():
    digests = digests_of(i // 3 for i in range(300))
    found = split(digests, np.arange(300) // 3 % 5, Splits(validation=0.2, test=0.2))
    sides = [{digests[i] for i in rows} for rows in found.values()]
    assert all(not a & b for i, a in enumerate(sides) for b in sides[:i])
    assert find_leaks(found, digests) == {}
    assert 54 <= len(found["test"]) <= 60


def test_a_class_keeps_a_training_image():
    found = split(digests_of(range(4)), [0, 0, 1, 1], Splits(validation=0.45, test=0.5))
    assert set(np.array([0, 0, 1, 1])[found["train"]]) == {0, 1}


def test_classes_of_a_column_are_held_out():
    fonts = np.arange(80) % 4
    found = split(
        digests_of(range(80)), np.arange(80) // 4 % 2, Splits(by="font", validation=("f2",), test=("f0",)), fonts=fonts
    )
    assert {name: set(fonts[rows].tolist()) for name, rows in found.items()} == {
        "train": {1, 3},
        "validation": {2},
        "test": {0},
    }
    by_fraction = split(digests_of(range(80)), np.arange(80) // 4 % 2, Splits(by="font", test=0.5), fonts=fonts)
    assert len(set(fonts[by_fraction["test"]])) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Splits(by="fnt", test=("f0",)), r"views\.v\.split\.by: 'fnt'.*font"),
        (Splits(by="font", test=("g0",)), r"views\.v\.split\.test: 'g0'.*near: f0"),
        (Splits(by="font", validation=("f0",), test=("f0",)), r"views\.v\.split\.validation: 'f0'.*left to hold out"),
    ],
)
def test_an_unknown_column_or_class_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        split(digests_of(range(8)), [0] * 8, settings, fonts=np.arange(8) % 4)


def test_published_splits_are_kept_and_validation_is_carved_out_of_train():
    published = {"train": np.arange(0, 80), "test": np.arange(80, 100)}
    found = split(digests_of(range(100)), np.arange(100) % 2, Splits(validation=0.25), published=published)
    assert found["test"].tolist() == list(range(80, 100))
    assert len(found["validation"]) == 20
    assert set(found["train"]) | set(found["validation"]) == set(range(80))
    with pytest.raises(ValueError, match=r"views\.v\.split\.test: .*published test split"):
        split(digests_of(range(100)), np.arange(100) % 2, Splits(test=0.25), published=published)


def test_leaks_are_found_in_the_split_that_gives_way():
    digests = digests_of([0, 1, 2, 3, 1, 5, 5, 0])
    splits = {"train": np.array([0, 1, 2, 3]), "validation": np.array([4, 5]), "test": np.array([6, 7])}
    assert find_leaks(splits, digests) == {"validation": {5: 6}, "train": {0: 7, 1: 4}}


def grouped(sizes, settings, labels=None, seed=0):
    """Groups of these sizes, named g0, g1, ...: the splits and the group of each row."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = groups % 2 if labels is None else np.asarray(labels)
    columns = {"label": (labels, ("a", "b")), "page": (groups, tuple(f"g{i}" for i in range(len(sizes))))}
    found = make_splits(
        {"all": np.arange(len(groups))},
        settings,
        digests=digests_of(range(len(groups))),
        columns=columns,
        primary="label",
        seed=seed,
        key="views.v.split",
    )
    return found, groups


def test_groups_stay_whole_and_the_share_of_images_is_near():
    sizes = np.random.default_rng(0).integers(1, 30, 60)
    settings = Splits(by="group", column="page", validation=0.15, test=0.2)
    found, groups = grouped(sizes, settings)
    sides = [set(groups[rows].tolist()) for rows in found.values()]
    assert all(not a & b for i, a in enumerate(sides) for b in sides[:i])
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(groups)))
    total = len(groups)
    assert abs(len(found["test"]) / total - 0.2) < 0.01
    assert abs(len(found["validation"]) / total - 0.15) < 0.01
    again, _ = grouped(sizes, settings)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    other, _ = grouped(sizes, settings, seed=1)
    assert not np.array_equal(found["test"], other["test"])


def test_few_large_groups_come_as_near_as_they_can():
    found, _ = grouped([40, 30, 30], Splits(by="group", column="page", test=0.2), labels=[0, 1] * 50)
    assert len(found["test"]) == 30
    found, _ = grouped([50], Splits(by="group", column="page", test=0.2), labels=[0, 1] * 25)
    assert len(found["test"]) == 0, "the only group is left to train on"


def test_which_classes_of_a_column_are_held_out_follows_the_seed():
    fonts = np.arange(80) % 4
    held = {
        int(fonts[split(digests_of(range(80)), [0, 1] * 40, Splits(by="font", test=0.25), fonts=fonts, seed=seed)["test"][0]])
        for seed in range(12)
    }
    assert len(held) > 1


def test_a_class_of_one_group_stays_in_training():
    labels = np.repeat([0, 0, 1, 0, 0], 10)
    for seed in range(10):
        found, _ = grouped([10] * 5, Splits(by="group", column="page", test=0.6), labels, seed)
        assert set(labels[found["train"]]) == {0, 1}


def test_a_class_of_two_groups_keeps_one_in_training():
    labels = np.repeat([0, 1, 0, 1, 0, 0], 10)
    for seed in range(10):
        found, _ = grouped([10] * 6, Splits(by="group", column="page", test=0.7), labels, seed)
        assert set(labels[found["train"]]) == {0, 1}
        assert len(found["test"]) == 40


def test_groups_that_fill_the_share_exactly_are_taken_and_the_last_of_a_class_never_is():
    settings = Splits(by="group", column="page", test=20 / 34)
    counts = {len(grouped([10, 10, 10, 4], settings, [0] * 34, seed)[0]["test"]) for seed in range(8)}
    assert counts == {20, 24}, "20, or 24 where the small group comes first"
    labels = np.repeat([0, 0, 0, 1], [10, 10, 10, 3])
    for seed in range(8):
        found, _ = grouped([10, 10, 10, 3], Splits(by="group", column="page", test=13 / 33), labels, seed)
        assert len(found["test"]) == 10
        assert 1 in labels[found["train"]]


def test_conflicts_are_equal_images_of_two_classes_and_no_copies_of_one():
    labels = {"label": np.array([0, 0, 0, 1, 2, 1])}
    table = SimpleNamespace(columns=labels, published={"train": np.array([0, 1, 2]), "test": np.array([3, 4, 5])})
    digests = digests_of([7, 7, 8, 8, 9, 8])
    assert find_conflicts(table, "label", digests) == {2: 3, 3: 2, 5: 2}
    assert find_conflicts(table, None, digests) == {}


def test_a_column_is_for_groups_alone():
    with pytest.raises(ValueError, match="column needs by: group or by: image"):
        Splits(by="page", column="page", test=0.2)
    with pytest.raises(ValueError, match="by: group takes fractions"):
        Splits(by="group", test=("g0",))


@pytest.mark.parametrize("by", ["image", "group"])
def test_folds_of_groups_keep_them_whole(by):
    sizes = np.random.default_rng(1).integers(1, 12, 40)
    found = [grouped(sizes, Splits(by=by, column="page", folds=4, fold=fold, validation=0.2)) for fold in range(4)]
    groups = found[0][1]
    for splits, _ in found:
        sides = [set(groups[rows].tolist()) for rows in splits.values()]
        assert all(not a & b for i, a in enumerate(sides) for b in sides[:i])
    assert sorted(np.concatenate([splits["test"] for splits, _ in found])) == list(range(len(groups)))
    counts = [len(splits["test"]) for splits, _ in found]
    assert max(counts) - min(counts) <= 2


def test_images_by_whole_groups_are_stratified_where_groups_alone_are_not():
    """Two classes of 100 images in groups of ten: the shares of the classes are exact, groups whole."""
    labels = np.repeat([0, 1], 100)
    for seed in range(5):
        found, groups = grouped([10] * 20, Splits(by="image", column="page", validation=0.1, test=0.2), labels, seed)
        assert np.bincount(labels[found["test"]]).tolist() == [20, 20]
        assert np.bincount(labels[found["validation"]]).tolist() == [10, 10]
        assert not set(groups[found["test"]]) & set(groups[found["train"]])


@pytest.mark.parametrize(
    ("settings", "recorded"),
    [
        ({"validation": 0.15, "test": 0.2}, "79d930ab38dc"),
        ({"column": "page", "by": "image", "validation": 0.15, "test": 0.2}, "a9eda3eb90d7"),
        ({"column": "page", "by": "group", "validation": 0.15, "test": 0.2}, "745d4eb48178"),
        ({"by": "page", "validation": 0.15, "test": 0.2}, "bfe255e8ab55"),
        ({"folds": 5, "fold": 2, "validation": 0.1}, "8dbf11c535a6"),
        ({"column": "page", "by": "image", "folds": 5, "fold": 2}, "748fe07775ec"),
    ],
)
def test_a_view_made_again_has_the_images_in_the_splits_that_they_were_in(settings, recorded):
    """Recorded in November 2026: a model is compared with former ones on the same test images."""
    draws = np.random.Generator(np.random.PCG64(3))
    sizes = (1 + draws.random(40) * 20).astype(int)
    labels = (draws.random(sizes.sum()) ** 2 * 10).astype(int)
    pages = np.repeat(np.arange(40), sizes)
    columns = {"label": (labels, tuple("abcdefghij")), "page": (pages, tuple(f"g{i}" for i in range(40)))}
    arguments = {"digests": digests_of(np.arange(len(pages)) // 2 * 2), "columns": columns, "primary": "label", "seed": 7}
    found = make_splits({"all": np.arange(len(pages))}, Splits(**settings), **arguments, key="views.v.split")
    rows = "; ".join(f"{name} {rows.tolist()}" for name, rows in sorted(found.items()))
    assert hashlib.sha256(rows.encode()).hexdigest()[:12] == recorded
