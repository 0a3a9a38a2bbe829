"""Detectors of a run that knows its classes by their names: stages detect, ood and ood_table of a CLIP run."""

import csv
import json

import numpy as np
import pytest
import torch
from families.tiny import Tiny, scattered

from components.core.config.strict import SettingsError
from components.core.files import read_arrays
from components.core.settings import Workspace
from components.detectors import DETECTORS
from components.metrics.concept_matching import maximum_concept_matching
from components.stages.checks import check_detection
from components.stages.detect import outside, stage, table

CONCEPTS = {"column": "label", "templates": ["a {}", "the {}."], "names": {"b": "bee"}}
BLOCK = {"run": "tiny", "view": "plain", "serve": None, "concepts": CONCEPTS}


@pytest.fixture(params=["clip", "limoe"])
def tiny(tmp_path, request):
    torch.set_num_threads(1)
    tiny = Tiny(request.param, tmp_path)
    tiny.save(scattered(tiny.build()))
    return tiny


def workspace(tiny, **changes):
    params = tiny.params() | {
        "detect": {"names": BLOCK | changes},
        "ood": {"far": {"detect": "names", "view": "turned", "kind": "far"}},
    }
    for name in ("plain", "turned"):
        params["views"][name] |= {"image_size": 16}
    tiny.parse(params)
    return Workspace(tiny.folder)


def test_maximum_concept_matching_stands_in_the_table(tiny):
    tiny._view("turned", {"label": ["a", "b", "c"]})
    space = workspace(tiny)
    check_detection(space, "names")
    stage.run(space, "names")
    outside.run(space, "far")
    table.run(space, "names")
    inside = read_arrays(tiny.folder / "outputs/ood/names/inside/inside.npz")
    turned = read_arrays(tiny.folder / "outputs/ood/names/turned/scores.npz")
    recipe = scattered(tiny.build()).eval()
    graphs = recipe.exportable().graphs
    texts = [template.replace("{}", word) for word in ("a", "bee", "c") for template in CONCEPTS["templates"]]
    with torch.no_grad():
        rows = graphs["text"].module(torch.from_numpy(tiny.views["main"].tokeniser.tokens(texts)[0]))
        rows = rows[0] if isinstance(rows, tuple) else rows
        concepts = torch.nn.functional.normalize(rows.view(3, 2, -1).mean(1), dim=1)
        (batch,) = tiny.views["main"].batches("test", 100)
        cosines = graphs["image"].module(batch["image"])[0] @ concepts.T
    np.testing.assert_allclose(inside["mcm"], maximum_concept_matching(cosines.numpy(), 1.0), rtol=1e-5)
    scale = recipe.exportable().facts["scale"]  # MSP is the same at the learnt temperature
    np.testing.assert_allclose(inside["msp"], maximum_concept_matching(cosines.numpy(), 1 / scale), rtol=1e-4)
    assert len(turned["mcm"]) == 3 * 24
    lines = list(csv.DictReader((tiny.folder / "outputs/ood_table/names/report/ood.csv").open()))
    assert [line["view"] for line in lines if line["detector"] == "mcm"] == ["turned", "far"]
    fitted = json.loads((tiny.folder / "outputs/detect/names/fitted/detectors.json").read_text())
    assert list(DETECTORS)[-1] == "mcm"
    assert set(fitted["detectors"]) | set(fitted["unfitted"]) == set(DETECTORS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": None}, r"detect\.names\.concepts: missing: a \w+ run knows classes by their names"),
        ({"serve": "mcm"}, r"detect\.names\.serve: 'mcm' is not allowed: .*write null"),
        ({"concepts": {"templates": ["a"]}}, r"must have \{\} once"),
        ({"concepts": {"colum": "label"}}, r"detect\.names\.concepts\.colum: unknown key"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(SettingsError, match=message):
        check_detection(workspace(Tiny("clip", tmp_path), **changes), "names")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": CONCEPTS | {"column": "colour"}}, r"concepts\.column: 'colour': view 'plain' has 0 class"),
        ({"concepts": CONCEPTS | {"names": {"z": "zed"}}}, r"concepts\.names: 'z' is no class of the column 'label'"),
    ],
)
def test_classes_that_the_view_does_not_have_are_refused(tmp_path, changes, message):
    tiny = Tiny("clip", tmp_path)
    tiny.save(tiny.build())
    with pytest.raises(ValueError, match=message):
        stage.run(workspace(tiny, **changes), "names")


@pytest.mark.parametrize(
    ("changes", "message"), [({}, r"concepts: not allowed"), ({"concepts": None, "detectors": ["mcm"]}, "'mcm' is not allowed")]
)
def test_a_classifier_knows_no_names(tmp_path, changes, message):
    with pytest.raises(SettingsError, match=message):
        check_detection(workspace(Tiny("classification", tmp_path), **changes), "names")
