"""All detectors but odin in one exported graph: the scores of torch, for any number of images."""

import contextlib
import io

import numpy as np
import onnxruntime
import pytest
import torch
from detectors.known import BY_FEATURES, fitted


class Scores(torch.nn.Module):
    """features [n, F], logits [n, K] -> a score [n] a detector."""

    def __init__(self, detectors):
        super().__init__()
        self.detectors = torch.nn.ModuleList(detectors)

    def forward(self, features, logits):
        return tuple(detector(features, logits) for detector in self.detectors)


@pytest.fixture(scope="module")
def graph(known):
    module = Scores([fitted(name, known).float() for name in BY_FEATURES]).eval()
    batch = torch.export.Dim("batch", min=1)
    inputs = (known.new[:3].float(), known.new_logits[:3].float())
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            module, inputs, dynamo=True, dynamic_shapes=({0: batch}, {0: batch}), output_names=BY_FEATURES, verbose=False
        )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return module, session


@pytest.mark.slow  # tests/export/test_detector.py: the same detectors in one graph, as they are exported
@pytest.mark.parametrize("images", [1, 40])
def test_the_graph_scores_as_torch_does(graph, known, images):
    module, session = graph
    features, logits = known.new[:images].float(), known.new_logits[:images].float()
    names = [value.name for value in session.get_inputs()]
    found = session.run(BY_FEATURES, dict(zip(names, (features.numpy(), logits.numpy()), strict=True)))
    for name, have, want in zip(BY_FEATURES, found, module(features, logits), strict=True):
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
