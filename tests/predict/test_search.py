"""Search by a text: exact ranking, an index by content that grows, broken pictures; with a stand-in for the model."""

from __future__ import annotations

import csv
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import SettingsError
from components.core.files import write_json
from components.registry.predict.index import Index
from components.registry.predict.model import Model
from components.serving.decoding import Preparation, decode_picture
from components.serving.text import Tokeniser
from flows.__main__ import main
from flows.predict.searching import search_pictures

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "purple": (1, 0, 1)}


class Embedding:
    """As the served code of CLIP: a picture is its mean colour, a text the sum of the colours that it names."""

    scale = 100.0

    def __init__(self) -> None:
        self.embedded: list[int] = []  # pictures per call

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        self.embedded.append(len(pixels))
        return unit(pixels.mean((1, 2)) + 1e-3)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return unit(np.array([np.sum([COLOURS.get(word, (0, 0, 0)) for word in text.split()], 0) + 1e-3 for text in texts]))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve pictures from red to blue, one more red, one purple, and a broken one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for index in range(12):
        colour = (255 - 20 * index, 0, 20 * index)
        Image.new("RGB", (9, 9), colour).save(tmp_path / "pictures" / f"{index:02}.png")
    Image.new("RGB", (9, 9), (100, 0, 100)).save(tmp_path / "pictures" / "more" / "purple.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path / "pictures"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "export").mkdir()
    write_json(tmp_path / "export" / "tokeniser.json", Tokeniser("bytes", 12).as_json())
    preparation = Preparation((8, 8), (8, 8), 3)
    return Model("clip", "version 1", tmp_path / "export", Embedding(), lambda data: decode_picture(data, preparation))


def search(model: Model, text: str, *places: str, top: int = 25, index: Path | None = None) -> tuple[int, list[list[str]]]:
    out = Path("search.csv")
    out.unlink(missing_ok=True)
    args = Namespace(text=text, what=list(places) or ["pictures"], top=top, out=out, index=index, batch=5)
    code = search_pictures(args, model, Path("state"))
    return code, list(csv.reader(out.open()))[1:] if out.is_file() else []


def exact(folder: Path, text: str) -> dict[str, float]:
    """Scores by another way: of every picture alone, in float64."""
    vector = np.sum([COLOURS.get(word, (0, 0, 0)) for word in text.split()], 0) + 1e-3
    scores = {}
    for path in folder.rglob("*.png"):
        if path.name != "broken.png":
            mean = np.asarray(Image.open(path), np.float64).mean((0, 1)) + 1e-3
            scores[str(path.relative_to(folder.parent))] = float(mean @ vector / np.linalg.norm(mean) / np.linalg.norm(vector))
    return scores


def test_the_best_pictures_in_order(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = search(model, "red")
    scores = exact(folder, "red")
    assert code == 0
    assert [row[1] for row in rows] == sorted(scores, key=scores.get, reverse=True)  # type: ignore[arg-type]
    assert [row[0] for row in rows] == [str(rank) for rank in range(1, 14)]
    np.testing.assert_allclose([float(row[2]) for row in rows], sorted(scores.values(), reverse=True), atol=2e-6)
    with Image.open("search.png") as page:
        assert page.width > 500
    output = capsys.readouterr()
    assert "broken: pictures/broken.png" in output.err
    assert "13 of 14 pictures searched, 1 broken" in output.out
    assert search(model, "purple", top=2)[1][0][1] == "pictures/more/purple.png"
    assert len(search(model, "blue", top=2)[1]) == 2


def test_the_index_grows_by_what_is_new(folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = search(model, "blue")
    served: Any = model.served
    assert sum(served.embedded) == 13
    served.embedded.clear()
    assert search(model, "blue")[1] == before
    assert served.embedded == [], "nothing is embedded twice"
    (folder / "00.png").rename(folder / "renamed.png")
    Image.new("RGB", (9, 9), (0, 0, 255)).save(folder / "07.png")  # edited
    Image.new("RGB", (9, 9), (0, 9, 200)).save(folder / "12.png")  # added
    shutil.copyfile(folder / "12.png", folder / "13.png")  # twice
    _, after = search(model, "blue")
    assert sum(served.embedded) == 2
    assert after[0][1] == "pictures/07.png"
    scores = {row[1]: row[2] for row in after}
    assert scores["pictures/12.png"] == scores["pictures/13.png"]
    (index,) = Path("state").iterdir()
    assert index.name.startswith("clip-")


def test_another_version_of_the_model_has_another_index(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    search(model, "red", index=Path("own.npz"))
    model.served.embedded.clear()
    (model.folder / "image.onnx").write_text("other weights")
    search(model, "red", index=Path("own.npz"))
    assert sum(model.served.embedded) == 13
    assert "own.npz is of another version of the model: it is written anew" in capsys.readouterr().err
    Path("own.npz").write_bytes(Path("own.npz").read_bytes()[:300])
    assert search(model, "red", index=Path("own.npz"))[0] == 0
    assert "own.npz is not a readable index" in capsys.readouterr().err


def test_what_was_embedded_before_a_fault_is_kept(folder: Path, model: Model) -> None:
    served: Any = model.served
    embed = served.embed_image
    served.embed_image = lambda pixels: embed(pixels) if len(served.embedded) < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        search(model, "red", index=Path("own.npz"))
    served.embed_image = embed
    served.embedded.clear()
    search(model, "red", index=Path("own.npz"))
    assert sum(served.embedded) == 3


def test_texts_and_pictures_that_cannot_be_searched(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match="TEXT: an empty text"):
        search(model, "  ")
    with pytest.raises(SettingsError, match="WHAT: 'nowhere' does not exist"):
        search(model, "red", "nowhere")
    assert search(model, "red", "pictures/broken.png") == (1, [])
    search(model, "red and a long tail")
    assert "longer than the model's 12 tokens; it reads 'red and a lo'" in capsys.readouterr().err
    other = Model("digits", "version 1", model.folder, object(), model.decode)
    with pytest.raises(SettingsError, match="search: digits has no vectors of pictures and texts"):
        search(other, "red")


def test_an_index_takes_only_what_fits(tmp_path: Path) -> None:
    index = Index(tmp_path / "i.npz", "m")
    index.add([b"a" * 32], np.ones((1, 3), np.float32))
    for wrong in (np.ones((1, 4)), np.ones((2, 3)), np.full((1, 3), np.nan)):
        with pytest.raises(ValueError, match="embed_image gave"):
            index.add([b"b" * 32], wrong)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--top", "0"], "--top: 0 is not allowed: 1 to 1000"), (["--out", "x.txt"], "--out: 'x.txt' is not allowed")],
)
def test_wrong_arguments(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "digits", "red", "pictures", *words]) == 2
    assert message in capsys.readouterr().err
