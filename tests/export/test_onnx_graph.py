"""An exported graph is torch's equal at any batch, carries no trace of its maker, and is refused where it differs."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from components.core.recipe import Exportable, Graph
from components.stages.export.onnx_graph import largest_differences, open_session, paired_outputs, write_graph
from components.stages.export.stage import validation_batches, write_graphs


class Affine(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 2, 3)

    def forward(self, image):
        return self.layer(image).mean((2, 3)), image.flatten(1)


class Drifting(nn.Module):
    """Answers differently at every call: its trace is not what it does later."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return image + self.calls


class FixedBatch(nn.Module):
    def forward(self, image):
        return image.reshape(len(image), -1)


def graph_of(module, **options):
    return Graph(
        module.eval(),
        lambda batch: {"image": batch["image"]},
        ("first", "second")[: 2 if isinstance(module, Affine) else 1],
        **options,
    )


def batches(*sizes):
    generator = torch.Generator().manual_seed(1)
    return [{"image": torch.rand((size, 1, 5, 5), generator=generator) * 2 - 1} for size in sizes]


def exportable(graph):
    return Exportable(graphs={"net": graph}, facts={}, signature={}, example=lambda batch: {"image": np.zeros(1)})


def test_two_outputs_at_batches_that_were_not_traced(tmp_path):
    parity = write_graphs(exportable(graph_of(Affine())), batches(2, 1, 7), tmp_path, threads=1)
    assert 0 <= parity["net"]["max_abs_difference"] < 1e-5
    found = open_session(tmp_path / "net.onnx", 1).run(["second"], {"image": batches(11)[0]["image"].numpy()})[0]
    assert found.shape == (11, 25)


def test_the_difference_is_measured_and_not_assumed(tmp_path):
    graph = graph_of(Affine())
    write_graph(graph, batches(2)[0], tmp_path / "net.onnx")
    with torch.no_grad():
        graph.module.layer.bias[1] += 0.25
    found = largest_differences(paired_outputs(graph, tmp_path / "net.onnx", batches(1, 7), threads=1))
    assert found == {"first": pytest.approx(0.25, abs=1e-5), "second": 0.0}


def test_a_graph_over_its_bound_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"net\.onnx differs from torch by .* in first, the bound is 0\.000\d+: nothing"):
        write_graphs(exportable(graph_of(Drifting())), batches(2, 1, 7), tmp_path, threads=1)


def test_a_batch_size_fixed_by_the_exporter_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"fixed the batch size of image"):
        write_graph(graph_of(FixedBatch()), batches(2)[0], tmp_path / "net.onnx")


def test_the_file_names_no_source_and_is_the_same_twice(tmp_path):
    for folder in ("one", "a much longer name"):
        (tmp_path / folder).mkdir()
        write_graph(graph_of(Affine()), batches(2)[0], tmp_path / folder / "net.onnx")
    first = (tmp_path / "one/net.onnx").read_bytes()
    assert first == (tmp_path / "a much longer name/net.onnx").read_bytes()
    assert b"test_onnx_graph" not in first
    assert b"site-packages" not in first


def test_a_view_smaller_than_the_largest_batch_repeats_its_images(tmp_path):
    from workbench import write_view

    from components.stages.views.view import open_view

    images = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8, 1)
    view = open_view(write_view(tmp_path / "view", images=images, labels=np.arange(3), classes=("a", "b", "c")))
    found = validation_batches(view)
    assert [len(batch["image"]) for batch in found] == [2, 1, 7]
    torch.testing.assert_close(found[2]["image"][3], found[2]["image"][0])
    assert json.loads((tmp_path / "view/view.json").read_text())["counts"]["validation"] == 3
