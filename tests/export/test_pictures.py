"""An export ships how its pictures are prepared, and golden pictures with the pixels of the view."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from families.tiny import TINY, Tiny, scattered
from PIL import Image

from components.core.settings import Workspace
from components.serving.golden import play
from components.serving.loading import load_served
from components.stages.augment.decode import decode_file
from components.stages.export import stage
from components.stages.export.pictures import write_golden
from components.stages.views.view import open_view

TAKE_PICTURES = sorted(set(TINY) - {"diffusion"})


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    small = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(small).resize((60, 40)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def samples_of(folder: Path) -> Path:
    return folder / "outputs" / "view_report" / "plain" / "samples"


def prepare(family: str, folder: Path) -> Tiny:
    """A run whose first two validation images are JPEGs, which are the samples of its view's report."""
    tiny = Tiny(family, folder)
    tiny.save(scattered(tiny.build()))
    facts, view = tiny.views["main"].facts, folder / "outputs" / "views" / "plain" / "validation.image.npy"
    params = json.loads((folder / "params.yaml").read_text())
    params["views"]["plain"] |= {"image_size": facts.image_size, "channels": facts.channels, "background": "#336699"}
    (folder / "params.yaml").write_text(json.dumps(params))
    settings = Workspace(folder).view("plain")
    images, samples = np.load(view), samples_of(folder)
    samples.mkdir(parents=True)
    for row in range(2):
        (samples / f"{row}.jpg").write_bytes(jpeg(row))
        images[row] = decode_file(jpeg(row), settings)
    np.save(view, images)
    listed = [{"file": f"{row}.jpg", "name": f"rose/{row}.jpg", "split": "validation", "row": row} for row in range(2)]
    (samples / "samples.json").write_text(json.dumps(listed))
    return tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the export of a classifier."""
    folder = tmp_path_factory.mktemp("classifier")
    prepare("classification", folder)
    stage.run(Workspace(folder), "tiny")
    return folder


def test_an_export_holds_its_preparation_and_answers_its_golden_pictures(exported):
    export, view = exported / "outputs" / "export" / "tiny", open_view(exported / "outputs" / "views" / "plain")
    facts = json.loads((export / "facts.json").read_text())
    assert facts["preparation"] == Workspace(exported).view("plain").preparation.to_json()
    assert facts["preparation"]["background"] == "#336699"
    assert facts["preparation"]["image_size"] == [view.facts.height, view.facts.width]
    entries = json.loads((export / "golden.json").read_text())["pictures"]
    assert [entry["name"] for entry in entries] == ["rose/0.jpg", "rose/1.jpg"]
    assert play(export, load_served(export)) == []


def test_the_served_code_decodes_to_the_bits_of_the_view(exported):
    served = load_served(exported / "outputs" / "export" / "tiny")
    images = np.load(exported / "outputs" / "views" / "plain" / "validation.image.npy")
    for row in range(2):
        np.testing.assert_array_equal(served.decode(jpeg(row)), images[row])


def test_a_picture_that_is_not_the_views_stops_the_export(exported, tmp_path):
    shutil.copytree(exported / "outputs" / "views" / "plain", tmp_path / "plain")
    images = np.load(tmp_path / "plain" / "validation.image.npy")
    images[1, 0, 0, 0] ^= 1
    np.save(tmp_path / "plain" / "validation.image.npy", images)
    export = shutil.copytree(exported / "outputs" / "export" / "tiny", tmp_path / "export")
    view = open_view(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"rose/1\.jpg: the pixels .* row 1 of the validation split of view plain"):
        write_golden(export, samples_of(exported), view)


def test_without_samples_the_export_goes_on_and_says_so(exported, tmp_path):
    view = open_view(exported / "outputs" / "views" / "plain")
    said = write_golden(exported / "outputs" / "export" / "tiny", tmp_path / "samples", view)
    assert said == f"no golden pictures: {tmp_path}/samples is not there; `dvc repro augment@plain` makes it"


@pytest.mark.slow
@pytest.mark.parametrize("family", TAKE_PICTURES)
def test_every_family_that_takes_pictures_answers_its_golden_pictures(family, tmp_path, monkeypatch):
    view = TINY[family]["view"]
    monkeypatch.setitem(TINY[family], "view", view | {"size": max(8, view["size"])})  # the least that a view may have
    prepare(family, tmp_path)
    stage.run(Workspace(tmp_path), "tiny")
    export = tmp_path / "outputs" / "export" / "tiny"
    assert len(json.loads((export / "golden.json").read_text())["pictures"]) == 2
    assert play(export, load_served(export)) == []
