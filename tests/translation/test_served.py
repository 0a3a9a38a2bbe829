"""A served translator of labels against torch, on rectangles."""

import json

import numpy as np
import pytest
import torch

from components.core.batch import ViewFacts, to_pixels, to_unit_range
from components.families.stargan_vc.networks import StarGANVC
from components.stages.export.onnx_graph import write_graph
from components.translation.served import Labelled
from components.translation.voices import exportable_of

VOICES = ("anna", "bello", "rex")
FACTS = ViewFacts("v", (16, 24), 1, {"domain": VOICES, "sound": ("rate=1",)}, (0.0,), (1.0,), {"train": 9}, "")


@pytest.fixture(scope="module")
def exported(runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    network = StarGANVC(image_size=(16, 24), channels=1, num_domains=3, width=8).generator.eval()
    made = exportable_of(FACTS, network)
    write_graph(made.graphs["model"], {"image": torch.rand(2, 1, 16, 24)}, folder / "model.onnx")
    (folder / "facts.json").write_text(json.dumps(made.facts))
    (folder / "signature.json").write_text(json.dumps(made.signature))
    return network, Labelled(folder)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (130, 16, 24, 1), dtype=np.uint8)


def test_every_picture_goes_into_its_target_and_back(exported, images):
    network, served = exported
    domain = np.arange(130) % 3
    labels = torch.eye(3)
    with torch.no_grad():
        there = network(to_unit_range(torch.tensor(images)), labels[domain])
        back = to_pixels(network(there, labels[(domain + 1) % 3]))
    answer = served.predict({"image": images, "domain": domain})["image"]
    assert answer.dtype == np.uint8
    assert np.abs(answer.astype(int) - to_pixels(there)).max() <= 1
    returned = served.there_and_back(images, (domain + 1) % 3, domain)
    assert np.abs(returned.astype(int) - back).max() <= 1
    assert served.translate(images[:0], domain[:0]).shape == (0, 16, 24, 1)
    assert served.facts["sound"] == "rate=1"


def test_what_is_no_request_is_refused(exported, images):
    _, served = exported
    with pytest.raises(ValueError, match=r"image: the shape must be \[N, 16, 24, 1\], found \[130, 24, 16, 1\]"):
        served.predict({"image": images.transpose(0, 2, 1, 3), "domain": np.zeros(130, np.int64)})
    with pytest.raises(ValueError, match=r"domain: 2 whole numbers are expected .*2 rex"):
        served.predict({"image": images[:2], "domain": np.array([0, 3])})
    with pytest.raises(ValueError, match="takes neither"):
        served.translate(images[:1], np.array([0]), style=np.zeros(3))
    with pytest.raises(ValueError, match="params: seed is not known; allowed: none"):
        served.predict({"image": images[:2], "domain": np.array([0, 1])}, {"seed": 1})
