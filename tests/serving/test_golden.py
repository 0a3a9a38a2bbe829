"""Golden pictures notice another decoder, other weights and a damaged file, and pass over close decisions."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tracking.conftest import export

from components.core.files import write_json
from components.serving import golden
from components.serving.loading import load_served

__all__ = ["export"]


def photograph(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((300, 400)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def recorded(export: Path) -> Path:
    served = load_served(export)
    entries = [
        golden.record(export, served, number, name=f"cat/{number}.jpg", data=photograph(number), suffix=".jpg", inputs={})
        for number in range(2)
    ]
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": entries})
    return export


def edit(path: Path, **changes) -> None:
    """Change fields of the first picture's entry."""
    content = json.loads(path.read_text())
    content["pictures"][0] |= changes
    path.write_text(json.dumps(content))


def test_the_same_model_has_no_differences(recorded):
    assert golden.play(recorded, load_served(recorded)) == []
    assert golden.play(recorded.parent, None) == []  # an export without golden pictures
    (entry, _) = json.loads((recorded / "golden.json").read_text())["pictures"]
    assert set(entry["outputs"]) == {"label", "class_name", "probability"}
    assert entry["margin"] > 0


def test_another_preparation_is_named(recorded):
    facts = json.loads((recorded / "facts.json").read_text())
    facts["preparation"]["fit"] = "stretch"
    (recorded / "facts.json").write_text(json.dumps(facts))
    lines = golden.play(recorded, load_served(recorded))
    assert len(lines) == 2
    assert lines[0].startswith("golden picture cat/0.jpg: its decoded pixels differ, by up to ")


def test_a_pixel_of_another_jpeg_library_passes_and_of_the_same_does_not(recorded, monkeypatch):
    served = load_served(recorded)
    decode = served.decode
    monkeypatch.setattr(served, "decode", lambda data: decode(data) ^ np.uint8(1))  # one grey level
    monkeypatch.setattr(served, "predict", lambda inputs: load_served(recorded).predict({"image": inputs["image"] ^ 1}))
    assert "by up to 1 of 255" in golden.play(recorded, served)[0]
    monkeypatch.setattr(golden, "decoder", lambda: {"machine": "another"})
    assert golden.play(recorded, served) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probability": 0.1}, "probability is 0."),
        ({"label": 7}, "label is [012], expected 7"),
        ({"other": 1}, "no output other"),
    ],
)
def test_other_outputs_are_named(recorded, changes, words):
    entry = json.loads((recorded / "golden.json").read_text())["pictures"][0]
    edit(recorded / "golden.json", outputs=entry["outputs"] | changes, margin=1.0)
    (line,) = golden.play(recorded, load_served(recorded))
    assert line.startswith("golden picture cat/0.jpg: ")
    assert re.search(words, line)


def test_a_close_decision_may_go_the_other_way(recorded):
    entry = json.loads((recorded / "golden.json").read_text())["pictures"][0]
    edit(recorded / "golden.json", outputs=entry["outputs"] | {"label": 7, "class_name": "seven"}, margin=1e-4)
    assert golden.play(recorded, load_served(recorded)) == []


def test_a_damaged_picture_is_a_line_and_no_crash(recorded):
    (recorded / "golden" / "1.jpg").write_bytes(b"\xff\xd8\xff broken")
    (line,) = golden.play(recorded, load_served(recorded))
    assert line.startswith("golden picture cat/1.jpg: ValueError: ")
