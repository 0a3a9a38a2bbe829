"""``flows write``: a page, its sheet and the judge's report, by a translator that is not trained and by tiny trained ones."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.tiny import Tiny, scattered
from PIL import Image
from predict.test_writing import Styled, glyph_file, save, stem
from workbench import ROOT, toy_params, write_params

from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.registry.predict import model as models
from components.registry.predict.model import Model
from components.registry.writing.style import draw_classes
from components.stages.export import stage
from flows.__main__ import main, parser
from flows.predict.writing import write_text
from flows.project import Project


class Judge:
    """Reads every picture as the same character."""

    def __init__(self, answer: str) -> None:
        self.facts = {"classes": ["A", "B", "I"]}
        self.classes = np.array(self.facts["classes"])
        self.answer = answer

    def predict(self, inputs: dict[str, np.ndarray], params: None = None) -> dict[str, np.ndarray]:
        return self.outputs_of(self.scores(inputs["image"]))

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"logits": np.eye(3, dtype=np.float32)[[self.facts["classes"].index(self.answer)] * len(image)]}

    def outputs_of(self, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        label = scores["logits"].argmax(1)
        return {"label": label, "class_name": self.classes[label], "probability": np.ones(len(label))}


class Drawer:
    """Draws class k as a bar of k + 2 pixels, brighter with each picture of a call: no two occurrences are the same."""

    facts = {"classes": ["A", "B"], "image_size": 8, "channels": 1}  # noqa: RUF012

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, int]) -> dict[str, np.ndarray]:
        images = np.zeros((len(inputs["label"]), 8, 8, 1), np.uint8)
        for number, label in enumerate(inputs["label"]):
            images[number, 1:7, 2 : label + 4] = 155 + 10 * params["seed"] + 20 * number
        return {"image": images}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A workspace whose run ``toy`` translates print, drawn by the source ``glyphs``, and has a judge of its content."""
    params = toy_params()
    params["datasets"]["digits"] |= {"source": "glyphs", "fonts": ["DejaVuSans", "cmr10"], "characters": "AB", "image_size": 8}
    params["datasets"]["digits"] |= {"samples": 1, "jitter": 0}
    params["runs"]["judge"] = params["runs"]["toy"]
    params["links"] = {"j": {"run": "toy", "stage": "evaluate", "role": "content", "from": "outputs/export/judge"}}
    write_params(tmp_path, params)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "find_model", lambda workspace, run, **_: exported(tmp_path, run, Judge("A"), ["class_name"]))
    return Project(tmp_path, None)


def exported(folder: Path, name: str, served: Any, outputs: list[str], inputs: tuple[str, ...] = ("image", "domain")) -> Model:
    place = folder / f"export_{name}"
    place.mkdir(exist_ok=True)
    inputs = [] if "class_name" in outputs else [{"name": name} for name in inputs]
    (place / "signature.json").write_text(json.dumps({"inputs": inputs, "outputs": [{"name": name} for name in outputs]}))
    return Model(name, "outputs/export", place, served, lambda data: np.asarray(Image.open(io.BytesIO(data)))[..., None])


def written(project: Project, *words: str) -> int:
    args = parser().parse_args(["write", "toy", *words, "--local"])
    return write_text(args, project, exported(project.root, "toy", Styled(), ["image"]))


def test_a_page_its_sheet_and_what_is_read_otherwise(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert written(project, "AB A", "page.png", "--em", "20") == 0
    output = capsys.readouterr().out
    assert "judge judge, outputs/export\n2 of 3 characters are read as written\n  character 2, B: read as A (1.00)" in output
    page = np.asarray(Image.open("page.png"))
    assert (page.dtype, page.min(), page[0].min()) == (np.uint8, 0, 255)
    assert Path("page_characters.png").is_file()
    assert written(project, "AB A", "again.png", "--em", "20", "--no-sheet") == 0
    assert Path("again.png").read_bytes() == Path("page.png").read_bytes()
    assert not Path("again_characters.png").exists()
    assert written(project, "AZ", "more.png", "--no-sheet") == 0
    assert "1 of 1 characters are read as written; no class of the judge: Z" in capsys.readouterr().out


def test_a_hand_s_slant_is_given_to_the_page(project: Project) -> None:
    from components.registry.writing.hand import slant_of

    def slant(*words: str) -> float:
        assert written(project, "IIII", "page.png", "--em", "60", "--no-sheet", "--variation", "0", *words) == 0
        return slant_of([255 - np.asarray(Image.open("page.png"))])

    save(project.root / "hand/1.png", stem(0.25))
    assert slant() == pytest.approx(0, abs=0.03)
    assert slant("--hand", "hand") == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["A字", "page.png"], r"TEXT: .*no glyph for 字 \(U\+5B57\)"),
        (["A", "page.png", "--font", "nofont"], "--font: fonts: matplotlib ships no font 'nofont'"),
        (["A", "page.png", "--domain", "cat"], "--domain: unknown name 'cat'; allowed: handwritten, printed"),
        (["A", "page.png", "--hand", "nowhere"], "--hand: 'nowhere' is no folder"),
        (["ZY", "page.png"], "--judge: judge knows none of the characters; its classes are A B I"),
    ],
)
def test_what_cannot_be_written_is_refused(project: Project, words: list[str], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        written(project, *words)
    assert not Path("page_characters.png").exists()


def drawn(project: Project, *words: str, inputs: tuple[str, ...] = ("label",)) -> int:
    args = parser().parse_args(["write", "toy", *words, "--local"])
    return write_text(args, project, exported(project.root, "toy", Drawer(), ["image"], inputs))


def test_a_model_of_classes_draws_each_occurrence_anew(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(project, "AB\nA", "page.png", "--em", "16", "--no-sheet", "--seed", "1") == 0
    assert "2 of 3 characters are read as written\n  character 2, B: read as A (1.00)" in capsys.readouterr().out
    page = 255 - np.asarray(Image.open("page.png")).astype(int)
    first, second = (half.max() for half in np.array_split(page, 2))
    assert first < second, "the third picture is the brightest"


@pytest.mark.parametrize("bright", [True, False])
def test_a_picture_is_drawn_for_each_character(bright: bool) -> None:
    written = draw_classes(Drawer(), ["A", "B", "A"], seed=1, bright=bright)
    ink = written if bright else 255 - written
    assert [picture.max() for picture in ink] == [165, 185, 205]
    assert [int(picture.any(0).sum()) for picture in ink] == [2, 3, 2]


@pytest.mark.parametrize(
    ("words", "inputs", "fault"),
    [
        (["AZY"], ("label",), "TEXT: toy draws no Y Z; its classes are A B"),
        (["A", "--hand", "hand"], ("label",), "--hand: toy draws its classes and has no styles"),
        (["A", "--domain", "d"], ("label",), "--domain: toy draws its classes and has no styles"),
        (["A"], ("text",), "write: toy draws no pictures of characters that are named"),
    ],
)
def test_what_a_model_of_classes_cannot_draw_is_refused(
    project: Project, words: list[str], inputs: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(SettingsError, match=fault):
        drawn(project, words[0], "page.png", *words[1:], inputs=inputs)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([" ", "page.png"], "TEXT: no character to write"),
        (["A\x07", "page.png"], "TEXT: control characters cannot be written: U+0007"),
        (["A", "page.jpg"], "OUT: 'page.jpg' is not allowed"),
        (["A", "page.png", "--variation", "2"], "--variation: 2.0 is not allowed: 0 to 1"),
    ],
)
def test_arguments_are_checked_before_a_model_is_loaded(
    project: Project, capsys: pytest.CaptureFixture[str], words: list[str], fault: str
) -> None:
    assert main(["write", "toy", *words, "--local", "--project", "."]) == 2
    assert fault in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("family", ["munit", "stargan_v2", "stargan"])
def test_tiny_translators_write(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    tiny = Tiny(family, tmp_path)
    tiny.save(scattered(tiny.build()))
    params, view = tiny.params(), tiny.entry["view"]
    params["views"]["plain"] |= {"image_size": max(8, view["size"]), "channels": view["channels"]}
    write_params(tmp_path, params)
    stage.run(Workspace(tmp_path), "tiny")
    shutil.copyfile(ROOT / "requirements.lock", tmp_path / "requirements.lock")
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "hand/1.png", stem(0.1))
    domain = view["columns"]["domain"][-1]
    common = ["--domain", domain, "--font", str(glyph_file()), "--ink", "bright", "--local", "--project", "."]
    assert main(["write", "tiny", "Ag,\nB", "page.png", *common]) == 0
    assert main(["write", "tiny", "Ag", "hand.png", "--hand", "hand", *common]) == (2 if family == "stargan" else 0)
    with Image.open("page.png") as page:
        assert page.height > 2 * 64
