"""The graph with a mask, of padded pictures that are not square: torch, ONNX Runtime and the served code agree."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from families.tiny import Tiny, scattered

from components.families.detr.exported import DetectionGraph
from components.families.detr.recipe import DETRRecipe
from components.families.detr.served import Served
from components.serving.preparation import Preparation
from components.stages.export.onnx_graph import largest_differences, paired_outputs, write_graph

HEIGHT, WIDTH = 32, 48
SIDES = ((61, 97), (97, 61), (20, 30))  # height, width of pictures, of which the first and the second are padded


def padded(count):
    """Random images of which each shows another rectangle."""
    generator = torch.Generator().manual_seed(count)
    mask = torch.zeros(count, HEIGHT, WIDTH, dtype=torch.bool)
    for row in range(count):
        mask[row, : HEIGHT - row % 3 * 8, : WIDTH - row % 2 * 16] = True
    return {"image": torch.rand(count, 3, HEIGHT, WIDTH, generator=generator) * 2 - 1, "image_mask": mask}


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["plain", "conditional"])
def test_the_masked_graph_is_the_network_s_and_the_server_pads_as_the_view_does(decoder, tmp_path):
    torch.set_num_threads(1)
    tiny = Tiny("detr", tmp_path)
    params = tiny.params()
    params["runs"]["tiny"]["model"] = params["runs"]["tiny"]["model"] | {"decoder": decoder, "levels": 2}
    facts = dataclasses.replace(tiny.views["main"].facts, masked=True, image_size=(HEIGHT, WIDTH))
    recipe = scattered(DETRRecipe.build(tiny.parse(params), {"main": facts}, {})).eval()
    content = recipe.exportable()
    write_graph(content.graphs["model"], padded(2), tmp_path / "model.onnx")
    differences = largest_differences(
        list(paired_outputs(content.graphs["model"], tmp_path / "model.onnx", [padded(1), padded(7)], 1))
    )
    assert max(differences[name] for name in ("logits", "boxes", "score")) < 1e-5
    assert differences["box"] < 1e-3
    image, mask = padded(3).values()
    other = torch.where(mask[:, None], image, torch.rand_like(image))
    graph, size = DetectionGraph(recipe.detector, 4), torch.tensor([[float(HEIGHT), WIDTH]]).repeat(3, 1)
    whole = torch.cat([torch.zeros(3, 2), size.flip(1)], 1)
    with torch.no_grad():
        answers = [
            graph(one, whole, size, seen) for one, seen in ((image, mask), (other, mask), (image, torch.ones_like(mask)))
        ]
    torch.testing.assert_close(answers[0], answers[1])
    assert (answers[0][0] - answers[2][0]).abs().max() > 1e-4, "the mask reaches the network"

    prepared = Preparation((HEIGHT, WIDTH), (HEIGHT, WIDTH), 3, fit="pad")
    (tmp_path / "facts.json").write_text(json.dumps(content.facts | {"preparation": prepared.to_json()}))
    served = Served(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    masks, windows, sizes = served.placed(SIDES, 3)
    answer = served.predict({"image": pixels, "size": np.array(SIDES)})
    assert [bool(one.all()) for one in masks] == [False, False, True]
    inputs = [torch.from_numpy(array) for array in (windows, sizes, masks)]
    with torch.no_grad():
        expected = DetectionGraph(recipe.detector, content.facts["detections"])(
            torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1, *inputs
        )
    np.testing.assert_allclose(answer["scores"], expected[2].numpy(), atol=1e-5)
    for boxes, (height, width) in zip(answer["boxes"], SIDES, strict=True):
        assert boxes.min() >= 0
        assert (boxes.max(0)[2:] <= [width, height]).all()
