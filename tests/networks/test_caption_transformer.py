"""Captions: shapes, padding that does not matter, and a text that is too long."""

import numpy as np
import onnxruntime
import pytest
import torch

from components.core.recipe import Graph
from components.networks.caption_transformer import CaptionTransformer
from components.stages.export.onnx_graph import write_graph


def transformer() -> CaptionTransformer:
    torch.manual_seed(0)
    return CaptionTransformer(num_tokens=11, context=6, width=8, depth=2, heads=2).eval()


def test_one_vector_a_token_and_padding_changes_none_of_them() -> None:
    tokens = torch.tensor([[3, 7, 2], [5, 0, 0]])
    longer = torch.nn.functional.pad(tokens, (0, 3))
    with torch.no_grad():
        (vectors, mask), (padded, padded_mask) = transformer()(tokens), transformer()(longer)
    assert vectors.shape == (2, 3, 8)
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert padded_mask.sum() == mask.sum()
    assert torch.allclose(padded[:, :3][mask], vectors[mask], atol=1e-6)


def test_order_and_every_token_matter() -> None:
    network = transformer()
    with torch.no_grad():
        first, swapped, other = (network(torch.tensor([tokens]))[0] for tokens in ([3, 7, 2], [7, 3, 2], [3, 7, 4]))
    assert (first[0, 2] - swapped[0, 2]).abs().max() > 1e-6
    assert (first[0, 0] - other[0, 0]).abs().max() > 1e-6


def test_no_caption_is_finite_and_gradient_reaches_every_parameter() -> None:
    network = transformer()
    vectors, mask = network(torch.tensor([[0, 0, 0], [1, 2, 3]]))
    assert torch.isfinite(vectors).all()
    assert not mask[0].any()
    (vectors * torch.randn(8, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in network.parameters())


def test_bad_input_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="a text of 7 tokens is longer than the context of 6"):
        transformer()(torch.ones(1, 7, dtype=torch.int64))
    with pytest.raises(ValueError, match="heads: 3 does not divide width 8"):
        CaptionTransformer(num_tokens=4, context=4, width=8, heads=3)
    with pytest.raises(ValueError, match="context: 0 is not allowed"):
        CaptionTransformer(num_tokens=4, context=0)


@pytest.mark.slow
def test_onnx_answers_the_same_also_without_a_caption(tmp_path) -> None:
    network, tokens = transformer(), torch.tensor([[0, 0, 0], [1, 2, 3], [4, 0, 0]])
    write_graph(
        Graph(network, lambda batch: {"tokens": batch["tokens"]}, ("vectors", "mask")), {"tokens": tokens}, tmp_path / "t.onnx"
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "t.onnx"), providers=["CPUExecutionProvider"])
    found, mask = session.run(["vectors", "mask"], {"tokens": tokens.numpy()})
    with torch.no_grad():
        expected = network(tokens)
    assert np.abs(found - expected[0].numpy()).max() <= 1e-4
    assert (mask == expected[1].numpy()).all()
