"""The user's own folders: what is packed, what is skipped, what is refused."""

import json
import os
import shutil
import tarfile

import pytest

from components.core.config.strict import SettingsError, parse
from components.core.errors import is_transient
from components.serving import decoding
from components.stages.fetch.files import pictures, suffixes
from components.stages.fetch.files.pack import pack_files
from components.stages.fetch.folder import Folder


def fill(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


@pytest.fixture
def images(tmp_path):
    return fill(tmp_path / "images", "b/2.png", "b/10.JPG", "a-b/x.webp", "a/é.png")


def fetch(images, out, **changes):
    out.mkdir()
    settings = parse(Folder.Settings, {"source": "folder", "path": images.name} | changes, "datasets.x")
    Folder.fetch(settings, out, 0, images.parent)
    return json.loads((out / "dataset.json").read_text())


def refused(images, tmp_path, match):
    with pytest.raises(ValueError, match=match):
        fetch(images, tmp_path / "out")


def test_classes_are_packed_in_the_order_of_bytes(images, tmp_path):
    index = fetch(images, tmp_path / "out")
    assert index == {
        "layout": "files",
        "splits": {"all": {"archive": "all.tar", "column": "label"}},
        "classes": {"label": ["a", "a-b", "b"]},
    }
    with tarfile.open(tmp_path / "out/all.tar", "r:") as tar:
        assert tar.getnames() == ["a-b/x.webp", "a/é.png", "b/10.JPG", "b/2.png"]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}
        assert tar.extractfile("a/é.png").read() == "a/é.png".encode()


def test_bytes_depend_on_names_and_contents_alone(images, tmp_path):
    fetch(images, tmp_path / "one")
    copy = fill(tmp_path / "elsewhere" / "copy", "a/é.png", "b/10.JPG", "b/2.png", "a-b/x.webp")
    for path in copy.rglob("*.*"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    fetch(copy, tmp_path / "two")
    for name in ("all.tar", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_splits_and_domain(tmp_path):
    images = fill(tmp_path / "i", "train/x/1.png", "train/y/1.png", "test/x/2.png", "test/y/2.png")
    index = fetch(images, tmp_path / "out", column="domain")
    assert index["splits"] == {split: {"archive": f"{split}.tar", "column": "domain"} for split in ("train", "test")}
    assert index["classes"] == {"domain": ["x", "y"]}
    with tarfile.open(tmp_path / "out/test.tar") as tar:
        assert tar.getnames() == ["x/2.png", "y/2.png"]


def test_absolute_path_and_one_class(tmp_path):
    images = fill(tmp_path / "i", "only/1.png")
    assert fetch(images, tmp_path / "out", path=str(images))["classes"] == {"label": ["only"]}


def test_class_may_be_called_train(tmp_path):
    images = fill(tmp_path / "i", "train/1.png", "car/1.png")
    assert fetch(images, tmp_path / "out")["classes"] == {"label": ["car", "train"]}


def test_other_files_are_an_error_that_lists_them_or_skipped_and_counted(images, tmp_path, caplog):
    fetch(images, tmp_path / "clean")
    fill(images, ".DS_Store", "README.md", "__MACOSX/a/._2.png", "@eaDir/x", "a/.hidden.png", "b/Thumbs.db", ".git/x/y.png")
    fetch(images, tmp_path / "junk")
    assert (tmp_path / "clean/all.tar").read_bytes() == (tmp_path / "junk/all.tar").read_bytes()
    assert "skipped 1 .md, 6 hidden" in caplog.text
    fill(images, "a/notes.txt", "b/more.txt", "b/LICENSE")
    with pytest.raises(ValueError, match=r"3 faults\n.*a/notes\.txt: no image.*\n.*b/LICENSE: no.*\n.*b/more\.txt: no"):
        fetch(images, tmp_path / "refused")
    fetch(images, tmp_path / "out", other_files="skip")
    assert "skipped 1 .md, 2 .txt, 6 hidden, 1 without suffix" in caplog.text
    assert (tmp_path / "clean/all.tar").read_bytes() == (tmp_path / "out/all.tar").read_bytes()


def test_many_faults_are_cut_after_twenty_lines(images, tmp_path):
    fill(images, *(f"a/{i:03}.txt" for i in range(50)))
    with pytest.raises(ValueError, match="50 faults") as caught:
        fetch(images, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 22
    assert str(caught.value).endswith("... and 30 more")


def test_other_names_of_splits(tmp_path):
    images = fill(tmp_path / "i", "Train/x/1.png", "valid/x/2.png", "testing/x/3.png", "__MACOSX/x/1.png")
    assert set(fetch(images, tmp_path / "out")["splits"]) == {"train", "validation", "test"}
    fill(images, "val/x/1.png", "more/x/1.png")
    with pytest.raises(
        ValueError, match=r"more: no split with class folders(.|\n)*valid: a second folder for the validation split"
    ):
        fetch(images, tmp_path / "refused")


@pytest.mark.parametrize("twin", ["Circle", "circle ", "cir cle"])
def test_classes_that_differ_only_by_case_or_spaces(images, tmp_path, twin):
    fill(images, "circle/1.png", f"{twin}/1.png")
    refused(images, tmp_path, f"'{twin}'.* differ only by case or spaces; .* similar_names: accept")
    assert {"circle", twin} < set(fetch(images, tmp_path / "accepted", similar_names="accept")["classes"]["label"])


def test_suffixes_are_images_or_an_error_but_never_passed_over(images, tmp_path, monkeypatch):
    fill(images, "a/1.jfif", "a/2.JPE", "a/3.avif", "a/4.jp2", "a/5.heic")
    monkeypatch.setattr(decoding, "formats", lambda: ("PNG", "JPEG", "WEBP", "JPEG2000"))
    with pytest.raises(ValueError, match=r"2 faults\n.*3\.avif: this Pillow does not decode AVIF.*\n.*5\.heic: .*HEIF"):
        fetch(images, tmp_path / "out")
    monkeypatch.setattr(decoding, "formats", lambda: tuple(suffixes.FORMATS.values()))
    fetch(images, tmp_path / "all")
    with tarfile.open(tmp_path / "all/all.tar") as tar:
        assert [name for name in tar.getnames() if name.startswith("a/")] == [
            "a/1.jfif",
            "a/2.JPE",
            "a/3.avif",
            "a/4.jp2",
            "a/5.heic",
            "a/é.png",
        ]


def when_first_packed(monkeypatch, change, times=1):
    """Call ``change(i)`` before each of the first ``times`` archives is written, as another process would."""
    calls = iter(range(times))

    def packing(members, archive):
        members = list(members)
        if (call := next(calls, None)) is not None:
            change(call)
        pack_files(members, archive)

    monkeypatch.setattr(pictures, "pack_files", packing)


@pytest.mark.parametrize(
    "change",
    [
        lambda images: fill(images, "a/late.png"),
        lambda images: fill(images, "c/late.png"),
        lambda images: (images / "b/2.png").write_bytes(b"longer than before"),
        lambda images: (images / "b/2.png").unlink(),
        lambda images: (images / "b/2.png").rename(images / "b/3.png"),
    ],
)
def test_a_file_that_comes_or_changes_while_it_packs_is_packed(images, tmp_path, monkeypatch, change):
    when_first_packed(monkeypatch, lambda call: change(images))
    fetch(images, tmp_path / "out")
    monkeypatch.undo()
    fetch(images, tmp_path / "at rest")
    assert (tmp_path / "out/all.tar").read_bytes() == (tmp_path / "at rest/all.tar").read_bytes()
    assert (tmp_path / "out/dataset.json").read_bytes() == (tmp_path / "at rest/dataset.json").read_bytes()


def test_a_folder_that_never_rests_is_an_error_worth_a_retry(images, tmp_path, monkeypatch):
    when_first_packed(monkeypatch, lambda call: fill(images, f"a/{call}.png"), times=9)
    with pytest.raises(ValueError, match=r"changed while they were packed, 3 times in a row \(a\)") as caught:
        fetch(images, tmp_path / "out")
    assert is_transient(caught.value)


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", tmp_path, "nowhere: no such folder")


def test_empty_folder(tmp_path):
    (tmp_path / "i").mkdir()
    refused(tmp_path / "i", tmp_path, "no class folders; expected <path>/<class>")


@pytest.mark.parametrize("extra", ["empty", "train", "b/notes"])
def test_empty_class_or_inner_folder(images, tmp_path, extra):
    (images / extra).mkdir()
    refused(images, tmp_path, f"{extra}: a (class folder without images|folder inside a class folder)")


def test_class_of_other_files_only(images, tmp_path):
    fill(images, "raw/1.cr2")
    refused(images, tmp_path, r"raw/1\.cr2: no image")
    with pytest.raises(ValueError, match="raw: a class folder without images"):
        fetch(images, tmp_path / "skipped", other_files="skip")


def test_images_beside_the_classes(images, tmp_path):
    fill(images, "loose.png")
    refused(images, tmp_path, r"loose\.png: an image beside the class folders")


def test_images_beside_the_classes_of_a_split(tmp_path):
    refused(fill(tmp_path / "i", "train/x/1.png", "train/loose.png"), tmp_path, r"loose\.png: an image beside")


def test_splits_beside_classes(tmp_path):
    refused(fill(tmp_path / "i", "train/x/1.png", "cat/1.png"), tmp_path, "cat: no split with class folders, beside train")


def test_splits_with_different_classes(tmp_path):
    images = fill(tmp_path / "i", "train/x/1.png", "train/y/1.png", "test/x/2.png", "test/z/2.png")
    refused(images, tmp_path, "different classes: y, z")


@pytest.mark.parametrize("name", ["a/out.png", "link"])
def test_link_that_leads_out(images, tmp_path, name):
    outside = fill(tmp_path / "outside", "1.png")
    (images / name).symlink_to(outside / "1.png" if name.endswith("png") else outside)
    refused(images, tmp_path, f"{name}: a link that leads out")


def test_links_out_are_followed_on_request_and_loops_are_not(images, tmp_path, caplog):
    outside = fill(tmp_path / "outside", "1.png")
    (images / "linked").symlink_to(outside)
    (images / "a/out.png").symlink_to(outside / "1.png")
    index = fetch(images, tmp_path / "out", follow_links=True)
    assert "linked" in index["classes"]["label"]
    with tarfile.open(tmp_path / "out/all.tar") as tar:
        assert {"linked/1.png", "a/out.png"} < set(tar.getnames())
        assert all(member.isreg() for member in tar)
    assert "DVC does not look behind links to folders (linked)" in caplog.text
    (images / "a/loop").symlink_to(images)
    with pytest.raises(ValueError, match="loop: a folder inside a class folder"):
        fetch(images, tmp_path / "loop", follow_links=True)


def test_link_inside_is_followed_and_a_dead_one_refused(images, tmp_path):
    (images / "b/alias.png").symlink_to("2.png")
    fetch(images, tmp_path / "inside")
    with tarfile.open(tmp_path / "inside/all.tar") as tar:
        assert tar.extractfile("b/alias.png").read() == b"b/2.png"
        assert all(member.isreg() for member in tar)
    (images / "b/2.png").unlink()
    refused(images, tmp_path, r"alias\.png: neither a file nor a folder")


def test_link_to_itself(images, tmp_path):
    (images / "a/loop.png").symlink_to("loop.png")
    refused(images, tmp_path, r"loop\.png")


def test_pipe_is_refused(images, tmp_path):
    os.mkfifo(images / "a/pipe.png")
    refused(images, tmp_path, r"pipe\.png: neither a file nor a folder")


@pytest.mark.parametrize("name", [b"line\nbreak.png", b"latin\xe9.png"])
@pytest.mark.parametrize("as_class", [False, True])
def test_names_that_are_no_plain_text(images, tmp_path, name, as_class):
    target = os.path.join(os.fsencode(images), b"a" if not as_class else b"", name)
    if as_class:
        shutil.copytree(os.fsencode(images / "a"), target)
    else:
        shutil.copy(os.fsencode(images / "b/2.png"), target)
    refused(images, tmp_path, "not UTF-8, or holds a line break")


def test_column_must_be_known():
    with pytest.raises(SettingsError, match="column"):
        parse(Folder.Settings, {"source": "folder", "path": "x", "column": "font"}, "datasets.x")


def test_settings_of_tables_have_moved():
    with pytest.raises(SettingsError, match=r"datasets\.x\.table: moved; .*source: table, path"):
        parse(Folder.Settings, {"source": "folder", "path": "x", "table": "list.csv"}, "datasets.x")
