"""Captions: shapes, padding that does not matter, and a text that is too long."""

import numpy as np
import onnxruntime
import pytest
import torch

from components.core.recipe import Graph
from components.diffusion.conditions import tokens_of
from components.networks.caption_transformer import LETTERS, CaptionTransformer, WordEmbedding
from components.stages.export.onnx_graph import write_graph


def of_words() -> CaptionTransformer:
    torch.manual_seed(0)
    return CaptionTransformer(num_tokens=256, context=20, width=8, depth=2, heads=2, words=True).eval()


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


def test_a_word_is_the_sum_of_its_letters_in_their_places() -> None:
    torch.manual_seed(0)
    embedding = WordEmbedding(256, 20, 8)
    texts = ["a red A", " tea  eat ", "", "A", "x" * 18]
    vectors, mask = embedding(tokens_of(texts, 20))
    assert mask.sum(1).tolist() == [3, 2, 0, 1, 1]
    assert vectors.shape == (5, 10, 8)

    def word(text: str) -> torch.Tensor:
        return sum(embedding.bytes.weight[ord(letter) * LETTERS + min(place, LETTERS - 1)] for place, letter in enumerate(text))

    for row, text in enumerate(texts):
        for number, expected in enumerate(text.split()):
            assert torch.allclose(vectors[row, number], word(expected), atol=1e-6), expected
    assert not torch.allclose(word("tea"), word("eat"), atol=1e-3)
    assert not vectors[~mask].any()


def test_places_in_long_texts_are_exact_in_bf16_too() -> None:
    torch.manual_seed(0)
    embedding, tokens = WordEmbedding(256, 600, 8), tokens_of(["word " * 100 + "kayak of the end"], 600)
    vectors, mask = embedding(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, same = embedding(tokens)
    assert torch.equal(mask, same)
    assert mask.sum() == 104
    assert torch.allclose(rounded.float(), vectors, atol=2e-3)


def test_words_are_told_apart_by_place_and_spaces_count_for_nothing() -> None:
    network = of_words()
    with torch.no_grad():
        first, spaced, turned = (
            network(tokens_of([text], 20))[0] for text in ("red A blue O", " red  A blue O", "blue O red A")
        )
    assert torch.allclose(first[:, :4], spaced[:, :4], atol=1e-6)
    assert (first[0, 0] - turned[0, 2]).abs().max() > 1e-6


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
@pytest.mark.parametrize("make", [transformer, of_words])
def test_onnx_answers_the_same_also_without_a_caption(tmp_path, make) -> None:
    network = make()
    tokens = torch.tensor([[0, 0, 0], [1, 2, 3], [4, 0, 0]]) if make is transformer else tokens_of(["", "a bc", "def"], 20)
    write_graph(
        Graph(network, lambda batch: {"tokens": batch["tokens"]}, ("vectors", "mask")), {"tokens": tokens}, tmp_path / "t.onnx"
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "t.onnx"), providers=["CPUExecutionProvider"])
    found, mask = session.run(["vectors", "mask"], {"tokens": tokens.numpy()})
    with torch.no_grad():
        expected = network(tokens)
    assert np.abs((found - expected[0].numpy())[mask]).max() <= 1e-4
    assert (mask == expected[1].numpy()).all()
