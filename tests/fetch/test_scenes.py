"""Scenes: what captions, boxes and columns say is what the pixels show; held-out combinations stay out of training."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.core.settings import ROOT
from components.stages.fetch.glyphs.drawing import Pose, draw
from components.stages.fetch.scenes.painting import COLOURS
from components.stages.fetch.scenes.scene import INVERSE, SIZES
from components.stages.fetch.scenes.source import Scenes, world_of

FULL = r"an? ([a-z]+) ([a-z]+) ([A-Z])\b"


def settings(**changes):
    block = {
        "source": "scenes",
        "path": "x",
        "image_size": 64,
        "characters": "ABCDEF",
        "colours": ["red", "green", "blue", "black"],
        "objects": [1, 4],
        "images": {"train": 60, "validation": 10, "test": 40},
        "held_out": {"objects": 0.2, "relations": 0.1},
        "jitter": 0.5,
    }
    return parse(Scenes.Settings, block | changes, "datasets.x")


class Fetched:
    def __init__(self, folder, seed=0, **changes):
        folder.mkdir()
        self.folder, self.settings = folder, settings(**changes)
        Scenes.fetch(self.settings, folder, seed, folder)
        self.index = json.loads((folder / "dataset.json").read_text())

    def array(self, split, name):
        return np.load(self.folder / f"{split}.{name}.npy")

    def names(self, split, column):
        return [self.index["classes"][column][row] for row in self.array(split, column)]

    def texts(self, split):
        return json.loads((self.folder / f"{split}.text.json").read_text())

    def boxes(self, split):
        """Per picture {character: (box, pixels of the box)}."""
        image, where = self.array(split, "image"), self.array(split, "box_image")
        boxes, names = self.array(split, "boxes"), self.names(split, "box_label")
        return [
            {names[row]: (boxes[row], crop(picture, boxes[row])) for row in np.flatnonzero(where == number)}
            for number, picture in enumerate(image)
        ]


def crop(picture, box):
    side = len(picture)
    left, top, right, bottom = np.rint(side * np.array([*(box[:2] - box[2:] / 2), *(box[:2] + box[2:] / 2)])).astype(int)
    return picture[top:bottom, left:right]


def colour_of(pixels):
    """Name of the colour nearest to the darkest or most coloured quarter of the pixels."""
    values = pixels.reshape(-1, 3).astype(float)
    ink = values[np.argsort(values.min(1))][: max(1, len(values) // 4)].mean(0)
    return min(COLOURS, key=lambda name: np.abs(ink - COLOURS[name]).sum())


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    return Fetched(tmp_path_factory.mktemp("scenes") / "out")


def is_true(caption, boxes, extents):
    """Check a caption against the boxes and the pixels alone."""
    centre = {character: box[:2] for character, (box, _) in boxes.items()}
    for extent, colour, character in re.findall(FULL, caption):
        assert extents[character] == extent, caption
        assert colour in ("letter", colour_of(boxes[character][1])), caption
    for colour, character in re.findall(r"an? ([a-z]+) ([A-Z])\b", caption):
        assert colour in SIZES or colour_of(boxes[character][1]) == colour, caption
    if match := re.search(r"([A-Z]) (left of|right of|above|below) .*([A-Z])$", caption):
        (x, y), (u, v) = centre[match[1]], centre[match[3]]
        apart = {"left of": u - x, "right of": x - u, "above": v - y, "below": y - v}[match[2]]
        across = abs(v - y) if match[2] in ("left of", "right of") else abs(u - x)
        assert apart > 0.2 and apart > across, caption  # noqa: PT018
    if match := re.match(r"(one|two|three|four) (\w+) ?", caption):
        assert ["one", "two", "three", "four"].index(match[1]) + 1 == len(boxes), caption
        colours = {colour_of(pixels) for _, pixels in boxes.values()}
        assert match[2] == "letters" or colours == {match[2]}, caption


def test_captions_are_true(fetched):
    """By the size, place and colour of the boxes' pixels, which the captions' code does not see."""
    capital = np.flatnonzero(draw("DejaVuSans-Bold", "E", 256, Pose()).max(1) > 64)
    heights = {extent: size * len(capital) / 256 for extent, size in SIZES.items()}
    said = set()
    for split in ("train", "test"):
        for texts, boxes in zip(fetched.texts(split), fetched.boxes(split), strict=True):
            extents = {c: min(heights, key=lambda extent: abs(heights[extent] - box[3])) for c, (box, _) in boxes.items()}
            assert len(set(texts)) == len(texts) <= 5
            for caption in texts:
                is_true(caption, boxes, extents)
                said |= set(caption.split())
            assert {character for _, _, character in re.findall(FULL, texts[0])} == set(boxes), "the first names everything"
    assert {*INVERSE, "left", "right", "above", "below", "two", "letters", "top", "bottom"} - said <= {"left of"}


def test_the_place_of_a_single_object_is_true(tmp_path):
    """In thirds of the range of centres; the ink of a character lies a little beside the middle of its cell."""
    single = Fetched(tmp_path / "out", objects=[1, 1], held_out={}, images={"train": 150}, jitter=1.0)
    words = {axis: set() for axis in (0, 1)}
    for texts, boxes in zip(single.texts("train"), single.boxes("train"), strict=True):
        ((box, _),) = boxes.values()
        place = re.search(r"at the (.+)$", texts[0])[1]
        for axis, (low, high) in enumerate((("left", "right"), ("top", "bottom"))):
            word = low if low in place else high if high in place else "centre"
            third = (low, "centre", high)[int(box[axis] > 0.25 + 1 / 6) + int(box[axis] > 0.75 - 1 / 6)]
            near = min(abs(box[axis] - 0.25 - 1 / 6), abs(box[axis] - 0.75 + 1 / 6))
            assert word == third or near < 0.03, (texts, box)
            words[axis].add(word)
    assert words == {0: {"left", "centre", "right"}, 1: {"top", "centre", "bottom"}}


def test_boxes_hold_all_ink(fetched):
    image = fetched.array("train", "image")
    for picture, boxes in zip(image, fetched.boxes("train"), strict=True):
        paper, rest = picture.max(), picture.astype(int)
        for box, _ in boxes.values():
            crop(rest, box)[:] = paper
        assert (paper - rest).max() < 0.35 * 255, "ink outside of every box"


def test_columns_are_those_of_the_subject(fetched):
    for number, texts in enumerate(fetched.texts("test")):
        extent, colour, character = re.match(FULL, texts[0]).groups()
        facts = {column: fetched.names("test", column)[number] for column in fetched.index["classes"] if column != "box_label"}
        assert (facts["extent"], facts["colour"], facts["character"]) == (extent, colour, character)
        assert facts["object"] == f"{colour} {character}"
        assert int(facts["objects"]) == len(fetched.boxes("test")[number])
        one = facts["objects"] == "1"
        assert (facts["position"] != "none") == one
        assert not (one and facts["relation"] != "none")
        if facts["objects"] == "2":
            assert re.sub(FULL, r"the letter \3", texts[0]) == facts["arrangement"]
            assert facts["relation"] in facts["arrangement"]


def test_held_out_combinations_are_in_the_test_split_alone(fetched):
    held = world_of(fetched.settings, 0).held_out
    assert (len(held.objects), len(held.arrangements)) == (5, 6)
    for split in ("train", "validation", "test"):
        seen = fetched.names(split, "combination")
        for number, (texts, boxes) in enumerate(zip(fetched.texts(split), fetched.boxes(split), strict=True)):
            pairs = {(colour_of(pixels), character) for character, (_, pixels) in boxes.items()}
            told = re.findall(r"([A-Z]) (left of|above) an? [a-z]+ [a-z]+ ([A-Z])", " ; ".join(texts))
            if pairs & held.objects:
                assert seen[number] == "unseen object"
            elif set(told) & held.arrangements:
                assert seen[number] == "unseen relation"
            assert split == "test" or not (pairs & held.objects or set(told) & held.arrangements)
        assert seen[1::2].count("seen") == (0 if split == "test" else len(seen) // 2)
        assert set(seen[::2]) == {"seen"}
    for place, parts in enumerate((fetched.settings.colours, fetched.settings.characters)):
        for part in parts:
            assert 2 * sum(pair[place] == part for pair in held.objects) <= 24 / len(parts), "each alone is seen"


@pytest.mark.parametrize(("share", "unseen"), [(0.0, 0), (0.25, 5), (1.0, 20)])
def test_a_share_of_the_test_scenes_has_held_out_combinations(tmp_path, share, unseen):
    held_out = {"objects": 0.2, "test": share}
    single = Fetched(tmp_path / "out", objects=[1, 1], held_out=held_out, images={"test": 20}, image_size=24)
    assert single.names("test", "combination").count("unseen object") == unseen
    assert world_of(single.settings, 0).held_out.objects == world_of(settings(), 0).held_out.objects, (
        "the same in every dataset"
    )


def test_another_process_draws_the_same_bytes_and_more_scenes_change_none(tmp_path):
    small = {"images": {"train": 6, "test": 4}}
    here = Fetched(tmp_path / "here", seed=3, **small)
    code = (
        "import sys; from pathlib import Path; from components.stages.fetch.scenes.source import Scenes; "
        "out = Path(sys.argv[1]); out.mkdir(); Scenes.fetch(Scenes.Settings.model_validate_json(sys.argv[2]), out, 3, out)"
    )
    block = here.settings.model_dump_json()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there"), block], check=True, cwd=ROOT)
    for path in here.folder.iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name
    more = Fetched(tmp_path / "more", seed=3, images={"train": 9, "validation": 2, "test": 4})
    np.testing.assert_array_equal(more.array("train", "image")[:6], here.array("train", "image"))
    assert more.texts("train")[:6] == here.texts("train")
    assert more.texts("test") == here.texts("test")
    other = Fetched(tmp_path / "other", seed=4, **small)
    assert other.texts("train") != here.texts("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"characters": "ABa"}, r"datasets\.x\.characters: .*without case"),
        ({"characters": "A B"}, r"spaces and control characters"),
        ({"colours": ["red", "teal"]}, r"colours: .*'teal' is not allowed: red, green"),
        ({"extents": ["huge"]}, r"'huge' is not allowed: small, medium, large"),
        ({"relations": ["beside"]}, r"'beside' is not allowed: left of, above"),
        ({"objects": [2, 1]}, r"objects \[2, 1\]: \[fewest, most\] from 1 to 4"),
        ({"objects": [1, 1]}, r"held_out\.relations needs scenes of two objects"),
        ({"images": {}}, r"no scenes: train, validation or test"),
        ({"held_out": {"objects": 0.6}}, r"held_out\.objects"),
        ({"jiter": 1}, r"jiter"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(SettingsError, match=message):
        settings(**changes)


def test_a_font_without_the_character_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"DejaVuSans-Bold has no glyph for 漢"):
        Fetched(tmp_path / "out", characters="A漢")
