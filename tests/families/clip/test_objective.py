"""The contrastive losses against plain formulas, several positives, chunks of a batch, and the settings of a step."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families.tiny import Tiny
from torch import nn

from components.contrastive.objective import (
    MAX_SCALE,
    best_is_right,
    contrastive_losses,
    in_chunks,
    kept_patches,
    pairs_only,
    positives,
    sigmoid_losses,
)
from components.core.batch import ViewFacts
from components.core.config.strict import SettingsError
from components.families.clip.recipe import CLIPRecipe
from components.families.clip.settings import TrainSettings


@pytest.fixture
def tiny(tmp_path):
    torch.set_num_threads(1)
    return Tiny("clip", tmp_path)


def unit_rows(number, seed):
    return F.normalize(torch.randn(number, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_the_softmax_loss_is_the_symmetric_cross_entropy_with_targets_spread_over_positives():
    image, text, scale = unit_rows(5, 0).numpy(), unit_rows(5, 1).numpy(), 7.0
    positive = np.eye(5, dtype=bool)
    positive[0, 3] = positive[3, 0] = True
    expected = np.zeros(5)
    for i in range(5):
        for logits in (scale * text @ image[i], scale * image @ text[i]):
            log_probabilities = logits - np.log(np.exp(logits).sum())
            expected[i] -= np.mean([log_probabilities[j] for j in range(5) if positive[i, j]]) / 2
    arrays = [torch.from_numpy(array) for array in (image, text, image, text)]
    found = contrastive_losses(*arrays, positive=torch.from_numpy(positive), scale=torch.tensor(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_sigmoid_loss_is_siglip_s():
    """Zhai et al. 2023, algorithm 1: the sum over all pairs, divided by the batch."""
    image, text, scale, bias = unit_rows(4, 0).numpy(), unit_rows(4, 1).numpy(), 10.0, -10.0
    total = 0.0
    for i in range(4):
        for j in range(4):
            logit = scale * image[i] @ text[j] + bias
            total += math.log1p(math.exp(-logit if i == j else logit))
    tensors = [torch.from_numpy(array) for array in (image, text)]
    found = sigmoid_losses(*tensors, torch.eye(4, dtype=torch.bool), torch.tensor(scale), torch.tensor(bias))
    assert found.mean().item() == pytest.approx(total / 4, rel=1e-12)


def test_pictures_that_share_a_caption_or_a_class_belong_together():
    captions, column = torch.tensor([[1, 2], [3, 0], [1, 2], [4, 0]]), torch.tensor([0, 1, 2, 1])
    by_caption = torch.eye(4, dtype=torch.bool)
    by_caption[0, 2] = by_caption[2, 0] = True
    assert torch.equal(positives(captions, slice(None)), by_caption)
    by_class = by_caption.clone()
    by_class[1, 3] = by_class[3, 1] = True
    assert torch.equal(positives(captions, slice(2, 4), column), by_class[2:])
    assert torch.equal(pairs_only(4, slice(1, 3), captions.device), torch.eye(4, dtype=torch.bool)[1:3])
    assert best_is_right(torch.eye(4)[:, :2], torch.eye(4)[:, :2], by_caption)[:2].tolist() == [1.0, 1.0]


def test_patches_stay_by_their_share_and_each_once():
    kept = kept_patches(torch.rand(3, 16), 0.75)
    assert kept.shape == (3, 4)
    assert all(len(set(row)) == 4 for row in kept.tolist())
    assert kept_patches(torch.rand(2, 4), 0.99).shape == (2, 1)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_chunks_give_the_gradient_of_the_whole_with_the_same_noise_in_both_passes(dropout):
    torch.manual_seed(0)
    encode = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 6)).double()
    rows, other = torch.randn(7, 4).double(), unit_rows(7, 2)

    def gradients(embed):
        torch.manual_seed(1)
        image = F.normalize(embed(), dim=1)
        eye = torch.eye(7, dtype=torch.bool)
        contrastive_losses(image, other, image, other, positive=eye, scale=torch.tensor(5.0)).mean().backward()
        found = [parameter.grad.clone() for parameter in encode.parameters()]
        encode.zero_grad()
        return found

    chunked = gradients(lambda: in_chunks(encode, 3, rows))
    plain = gradients(lambda: torch.cat([encode(part) for part in rows.split(3)]))
    whole = gradients(lambda: encode(rows))
    for found, first, second in zip(chunked, plain, whole, strict=True):
        assert torch.equal(found, first)
        assert dropout or torch.allclose(found, second, atol=1e-12)


def test_a_training_in_chunks_equals_one_without(tiny):
    """With patch dropout, whose patches do not depend on the chunks."""
    train = {"ema_decay": None, "steps": 2, "patch_dropout": 0.5}
    found = []
    for chunk in (None, 3):
        recipe = tiny.build(chunk=chunk, **train)
        for module in recipe.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # its draws follow the calls
        optimizer = torch.optim.SGD(recipe.parameters(), lr=0.1)  # Adam divides by a gradient, however small it is
        recipe.optimizers = {"clip": optimizer}
        tiny.train(recipe, chunk=chunk, **train)
        found.append(recipe.state_dict())
    for name, tensor in found[0].items():
        assert (found[1][name] - tensor).abs().max() < 1e-6, name


def test_chunks_hold_the_activations_of_one_chunk(tiny):
    saved = {}
    for chunk in (None, 2):
        recipe, batch, sizes = tiny.build(chunk=chunk), tiny.batch(8), []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            recipe.embed(batch, 0)
        saved[chunk] = sum(sizes)
    assert saved[2] < saved[None] / 4


@pytest.mark.parametrize(("loss", "bounded"), [("softmax", True), ("sigmoid", False)])
def test_the_temperature_is_clamped_after_the_update_of_the_softmax_alone(tiny, loss, bounded):
    recipe = tiny.build(loss=loss, ema_decay=None)
    with torch.no_grad():
        recipe.clip.logit_scale.fill_(math.log(MAX_SCALE) + 2)
    tiny.train(recipe, loss=loss, ema_decay=None, steps=1)
    assert (recipe.clip.logit_scale.item() <= math.log(MAX_SCALE) + 1e-6) == bounded


def test_gains_biases_and_the_temperature_are_not_decayed(tiny):
    recipe = tiny.build()
    names = {id(parameter): name for name, parameter in recipe.clip.named_parameters()}
    groups = [{names[id(p)] for p in group["params"]} for group in recipe.optimizers["clip"].param_groups]
    assert [group["weight_decay"] for group in recipe.optimizers["clip"].param_groups] == [0.2, 0.0]
    assert {"visual.proj", "text.token_embedding.weight", "visual.conv1.weight"} <= groups[0]
    assert {"logit_scale", "visual.ln_pre.weight", "text.transformer.resblocks.0.attn.in_proj_bias"} <= groups[1]
    assert groups[0] | groups[1] == set(names.values())


def test_defaults_are_those_of_the_paper():
    paper = {  # Radford et al. 2021, section 2.5 and tables 18 to 20
        "batch_size": 32768,
        "learning_rate": 5e-4,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.2,
        "schedule": "cosine",
        "ema_decay": None,
        "clip_norm": None,
        "loss": "softmax",
        "patch_dropout": 0.0,
    }
    settings = TrainSettings()
    assert {name: getattr(settings, name) for name in paper} == paper
    assert MAX_SCALE == 100


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"batch_size": 1}, r"train\.batch_size: 1 is not allowed: a batch of one pair has no negatives"),
        ({"positives_column": "label"}, r"train\.positives_column: not allowed with positives caption"),
        ({"betas": [0.9, 1.0]}, "betas"),
    ],
)
def test_settings_that_train_nothing_are_refused_by_name(tiny, train, words):
    with pytest.raises(SettingsError, match=words):
        tiny.settings(**train).train  # noqa: B018


@pytest.mark.parametrize(
    ("block", "changes", "words"),
    [
        (
            "train",
            {"positives": "column", "positives_column": "colour"},
            r"train\.positives_column: view 'plain' has no column",
        ),
        ("export", {"names": {"d": "delta"}}, r"export\.names: 'd' is no class of the column 'label'"),
        ("model", {"tower": "modified_resnet"}, "multiples of 32"),
    ],
)
def test_what_the_view_does_not_have_is_refused_by_name(tiny, block, changes, words):
    params = tiny.params()
    whole = {"name": "clip"} if block == "model" else params["runs"]["tiny"][block]
    params["runs"]["tiny"][block] = whole | changes
    with pytest.raises(ValueError, match=words):
        CLIPRecipe.build(tiny.parse(params).parsed(), {"main": tiny.views["main"].facts}, {})


@pytest.mark.parametrize("templates", [["a photo"], ["{} {}"], ["{name}"], ["{"], []])
def test_a_template_without_one_place_is_refused(tiny, templates):
    params = tiny.params()
    params["runs"]["tiny"]["export"] = {"templates": templates}
    with pytest.raises(SettingsError, match=r"export\.templates"):
        tiny.parse(params).parsed()


def test_a_view_without_captions_is_refused(tiny):
    facts = tiny.views["main"].facts
    bare = ViewFacts(facts.name, 16, 1, facts.classes, facts.mean, facts.std, facts.counts, facts.digest)
    with pytest.raises(ValueError, match=r"view: 'plain' has no captions; a view with `text: {context_length: ...}`"):
        CLIPRecipe.build(tiny.settings(), {"main": bare}, {})
    params = tiny.params()

    class View:
        text = None

    with pytest.raises(ValueError, match="view: 'plain' has no captions"):
        CLIPRecipe.check(tiny.parse(params), View(), {})


@pytest.mark.parametrize("setting", [{"patch_dropout": 0.5}, {"chunk": 4}])
def test_what_a_resnet_cannot_do_is_refused(tiny, setting):
    params = tiny.params(**{"patch_dropout": 0.0} | setting)
    params["runs"]["tiny"]["model"] = {"name": "clip", "tower": "modified_resnet", "width": 8, "blocks": [1, 1, 1, 1]}
    (name,) = setting
    with pytest.raises(ValueError, match=rf"train\.{name}: .* is not allowed: .*ResNet"):
        CLIPRecipe.build_network(tiny.parse(params), 32, 1, 2)
