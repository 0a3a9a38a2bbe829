"""The source: folders and archives of handwriting become a dataset with characters and writers; nothing is dropped silently."""

import json
import logging
import zipfile

import numpy as np
import pytest
from fetch.handwriting.written import dgrl, gb, gnt, hcl, pot

from components.core.config.strict import SettingsError, parse
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.augment.raw.layouts import read_dataset
from components.stages.fetch.handwriting.source import HandwritingFiles
from components.stages.fetch.recognise import recognise

INK = [[(0, 0), (300, 40)], [(150, -80), (140, 200)], [(7, 7)]]


def picture(seed, height=5, width=4):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def fetched(root, out, **settings):
    """(split -> raw split, classes) of the dataset."""
    out.mkdir(exist_ok=True)
    block = parse(HandwritingFiles.Settings, {"source": "handwriting_files", "path": str(root)} | settings, "datasets.x")
    HandwritingFiles.fetch(block, out, 0, out)
    return read_dataset(out)


@pytest.fixture
def characters(tmp_path):
    """Two writers to train on, one of them in an archive; one to test."""
    root = tmp_path / "hand"
    (root / "Gnt1.1Test").mkdir(parents=True)
    (root / "Gnt1.1Test/1241-c.gnt").write_bytes(gnt((gb("啊"), picture(0)), (gb("一"), picture(1))))
    with zipfile.ZipFile(root / "HWDB1.1trn_gnt.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1001-c.gnt", gnt((gb("一"), picture(2)), (b"!", picture(3, 3, 3)), (gb("啊"), picture(4))))
    (root / "train").mkdir()
    (root / "train/1002-c.gnt").write_bytes(gnt((gb("啊"), picture(5)), (gb("一"), picture(6))))
    return root


def test_characters_writers_and_splits_of_folders_and_archives(characters, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        splits, classes = fetched(characters, tmp_path / "out")
    assert classes == {"label": ("!", "一", "啊"), "group": ("1001", "1002", "1241")}
    assert "1 codes are shorter than their field and filled with NUL: ! 1" in caplog.text
    train, test = splits["train"], splits["test"]
    assert [train.name(index) for index in range(3)] == [f"HWDB1.1trn_gnt.zip/1001-c.gnt/00000{n}.pgm" for n in (1, 2, 3)]
    assert (train.columns["label"].tolist(), train.columns["group"].tolist()) == ([1, 0, 2, 2, 1], [0, 0, 0, 1, 1])
    assert test.columns["group"].tolist() == [2, 2]
    view = ViewSettings(dataset="d", image_size=8, channels=1, fit="stretch", split={"by": "image", "validation": 0.4})
    facts = make_view("v", view.model_copy(update={"split": view.split.model_copy(update={"validation": None})}),
                      tmp_path / "out", tmp_path / "view", 0)  # fmt: skip
    assert facts.counts == {"train": 5, "test": 2}


def test_the_same_writer_in_two_published_splits_is_refused_by_the_view(characters, tmp_path):
    (characters / "train/1241-c.gnt").write_bytes(gnt((gb("!"), picture(9)), (gb("一"), picture(8))))
    fetched(characters, tmp_path / "out")
    with pytest.raises(ValueError, match="the group '1241' is in train and in test"):
        make_view("v", ViewSettings(dataset="d", image_size=8, channels=1), tmp_path / "out", tmp_path / "view", 0)


def test_unknown_codes_are_named_and_counted(characters, tmp_path, caplog):
    file = characters / "train/1003-c.gnt"
    file.write_bytes(gnt((b"\xff\xff", picture(7)), (gb("一"), picture(8)), (b"\xff\xff", picture(9))))
    with pytest.raises(
        ValueError, match=r"train/1003-c\.gnt: record 1: the code ffff is no character \(2 samples\); unknown_codes"
    ):
        fetched(characters, tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        splits, _ = fetched(characters, tmp_path / "skipped", unknown_codes="skip")
    assert len(splits["train"]) == 6
    assert "2 samples are left out for a code that is no character: ffff 2" in caplog.text


def test_a_broken_file_is_an_error_or_read_up_to_the_break(characters, tmp_path, caplog):
    file = characters / "train/1002-c.gnt"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train/1002-c\.gnt: record 2 \(byte 30\): breaks off in the pixels: 20 bytes"):
        fetched(characters, tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        splits, _ = fetched(characters, tmp_path / "cut", broken_files="cut")
    assert len(splits["train"]) == 4
    assert "what stands before is read" in caplog.text


def test_chosen_characters_and_further_columns_of_writers(characters, tmp_path):
    (characters / "writers.csv").write_text("writer,age,occupation\n1001,31,teacher\n1002,24,student\n1241,31,teacher\n")
    splits, classes = fetched(characters, tmp_path / "out", writers="writers.csv", characters="一啊")
    assert classes["age"] == ("24", "31")
    assert (splits["train"].columns["occupation"].tolist(), len(splits["train"])) == ([1, 1, 0, 0], 4)
    (characters / "writers.csv").write_text("writer,age\n1001,31\n")
    with pytest.raises(ValueError, match="the writer '1241' is not in the table"):
        fetched(characters, tmp_path / "second", writers="writers.csv")
    (characters / "writers.csv").unlink()
    splits, classes = fetched(characters, tmp_path / "third", characters="gb2312_level_1")
    assert classes["label"] == ("一", "啊")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.spt", "SCUT-COUCH2009's format has no public specification"),
        ("a.mpf", "features of characters, not pictures"),
        ("a.rar", "unpack it"),
        ("001_images", "no file of codes beside it: 001_labels, labels"),
        ("a.zip", "not readable as a zip archive"),
        ("-.gnt", "no writer in the name"),
        ("1.dgrl", r"1\.dgrl: header: a header of 2,021,161,080 bytes is not possible"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(characters, tmp_path, name, words):
    (characters / "train" / name).write_bytes(b"x" * 8)
    with pytest.raises(ValueError, match=words):
        fetched(characters, tmp_path / "out")


def test_an_empty_folder_and_a_pattern_without_a_group(tmp_path):
    with pytest.raises(ValueError, match=r"no handwriting: \.gnt"):
        fetched(tmp_path, tmp_path / "out")
    with pytest.raises(SettingsError, match="a group in parentheses"):
        fetched(tmp_path, tmp_path / "out", writer="abc")


def test_lines_have_captions(tmp_path):
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand/001-P16.dgrl").write_bytes(dgrl((9, 9), ("啊一", 0, 0, picture(0)), ("!", 4, 4, picture(1, 3, 3))))
    splits, classes = fetched(tmp_path / "hand", tmp_path / "out")
    assert (splits["all"].annotations.texts, classes) == ([["啊一"], ["!"]], {"group": ("001",)})
    page, _ = fetched(tmp_path / "hand", tmp_path / "page", unit="page")
    assert page["all"].annotations.texts == [["啊一\n!"]]


def test_strokes_are_drawn_by_the_view_and_only_there(tmp_path):
    (tmp_path / "hand").mkdir()
    for writer in range(4):
        strokes = [*INK, [(30 * writer, 100), (200, 40 * writer)]]
        (tmp_path / f"hand/{writer}.pot").write_bytes(pot((gb("一"), strokes[1:]), (gb("二"), strokes)))
    splits, _ = fetched(tmp_path / "hand", tmp_path / "out")
    assert len(splits["all"]) == 8
    form = {"dataset": "d", "image_size": 16, "channels": 1, "conflicts": "report", "split": {"by": "group", "test": 0.25}}

    def view(name, **strokes):
        settings = parse(ViewSettings, form | {"strokes": strokes}, "views.v")
        make_view("v", settings, tmp_path / "out", tmp_path / name, 0, report=tmp_path / f"{name}_report")
        return np.load(tmp_path / name / "train.image.npy")

    plain, drawn, again = view("plain"), view("drawn", jitter=1), view("again", jitter=1)
    np.testing.assert_array_equal(drawn, again)
    assert (plain != drawn).any()
    assert (view("other", jitter=1, seed=1) != drawn).any()
    assert view("thick", width=5).mean() < plain.mean() - 20
    samples = json.loads((tmp_path / "plain_report/samples/samples.json").read_text())
    assert {entry["file"][-4:] for entry in samples} == {".png"}  # an export plays pictures, not strokes
    with pytest.raises(ValueError, match=r"pen strokes, not a picture; `strokes: \{\}`"):
        make_view("v", parse(ViewSettings, form, "views.v"), tmp_path / "out", tmp_path / "none", 0)


def test_strokes_of_a_dataset_without_any(characters, tmp_path):
    fetched(characters, tmp_path / "out")
    settings = ViewSettings(dataset="d", image_size=8, channels=1, strokes={})
    with pytest.raises(SettingsError, match=r"views\.v\.strokes: the dataset 'd' has no strokes"):
        make_view("v", settings, tmp_path / "out", tmp_path / "view", 0)


def test_hcl2000_splits_by_name(tmp_path):
    (tmp_path / "hand").mkdir()
    for name in ("xx001", "hh001"):
        (tmp_path / f"hand/{name}.hcl").write_bytes(hcl(np.zeros((3755, 64, 64), bool)))
    splits, classes = fetched(tmp_path / "hand", tmp_path / "out", characters="啊座")
    assert ({split: len(part) for split, part in splits.items()}, classes["group"]) == (
        {"train": 2, "test": 2},
        ("hh001", "xx001"),
    )


def test_a_folder_of_handwriting_is_recognised(characters):
    found = recognise(characters)
    assert (found.source, found.faults, found.classes) == ("handwriting_files", [], {"!": 1, "一": 3, "啊": 3})
    (characters / "train/1003-c.pot").write_bytes(pot((gb("一"), INK)))
    assert (recognise(characters).faults, recognise(characters).files) == ([], 8)
