"""The saliency maps of an export: which pictures, and of what size."""

import numpy as np
import pytest
import torch
from workbench import run_settings, write_view

from components.core.files import read_arrays
from components.families.classification.recipe import Classification
from components.stages.export.saliency import FILE, SHOWN, chosen_rows, write_saliency
from components.stages.views.view import open_view

NETWORKS = {
    "resnet18": ({"width": 8}, "Grad-CAM"),
    "pp_lcnet": ({"scale": 0.25, "strides": (1, 1, 2, 2, 2)}, "Grad-CAM"),
    "swin": ({"width": 16, "patch": 2, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "window": 4}, "Grad-CAM"),
    "vit": ({"width": 16, "depth": 2, "heads": 2}, "attention rollout"),
}


@pytest.fixture
def view(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), np.uint8)
    return open_view(write_view(tmp_path / "view", images=images, labels=np.arange(20) % 4, classes=("a", "b", "c", "d")))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_a_classifier_has_maps(view, tmp_path, name):
    options, method = NETWORKS[name]
    torch.manual_seed(0)
    recipe = Classification.build(run_settings(name, options), {"main": view.facts}, {}).eval()
    before = {key: value.clone() for key, value in recipe.state_dict().items()}
    write_saliency(recipe, view, tmp_path)
    arrays = read_arrays(tmp_path / FILE)
    assert (str(arrays["split"]), str(arrays["method"])) == ("validation", method)
    assert len(set(arrays["row"].tolist())) == SHOWN
    maps = arrays["map"]
    assert (maps.dtype, maps.ndim, len(maps)) == (np.uint8, 3, SHOWN)
    assert min(maps.shape[1:]) > 1
    assert all(torch.equal(value, before[key]) for key, value in recipe.state_dict().items()), "an export changes no weight"


def test_a_recipe_without_saliency_writes_nothing(view, tmp_path):
    write_saliency(object(), view, tmp_path)
    assert not (tmp_path / FILE).exists()


def test_the_least_sure_pictures_come_first_then_the_surest_of_different_classes():
    own = np.array([0.99, 0.1, 0.98, 0.97, 0.2, 0.96, 0.3, 0.95, 0.4, 0.94])
    label = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 3])
    assert chosen_rows(own, label).tolist() == [1, 4, 6, 8, 0, 3, 5, 7]
