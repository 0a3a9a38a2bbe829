"""LIMoE's routers: their losses against plain formulas, priority and capacity, and the ablation of the entropy losses."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.families.limoe.routing import dispatch_of, figures, losses_of, of_all_pairs, sums_of, weighted
from components.families.limoe.settings import TrainSettings
from components.networks.mixture_of_experts import Dispatch, MixtureOfExperts, Routed

N, PATCHES, WORDS, EXPERTS = 4, 5, 3, 6
NOISE = 1 / EXPERTS
SEEN = torch.tensor([[True] * PATCHES + [True] * real + [False] * (WORDS - real) for real in (3, 1, 2, 3)])


def routed(seed=0):
    """A decision on random logits, in float64."""
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(N, PATCHES + WORDS, EXPERTS, generator=draws, dtype=torch.float64)
    noisy = logits + NOISE * torch.randn(logits.shape, generator=draws, dtype=torch.float64)
    gate, expert = noisy.softmax(-1).max(-1)
    return Routed(logits, noisy, expert, gate, SEEN)


def test_the_losses_are_their_formulas():
    settings = TrainSettings(batch_size=N, groups=2, image_experts=6, text_experts=6, image_local_entropy=1.0)
    layer = routed()
    found = losses_of(sums_of(layer, SEEN, PATCHES, NOISE), settings)
    logits, noisy, seen = (tensor.numpy() for tensor in (layer.logits, layer.noisy, SEEN))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected, real = {}, {"image": (slice(PATCHES), 6), "text": (slice(PATCHES, None), 6)}
    for modality, (part, least) in real.items():
        rows = p[:, part][seen[:, part]]
        expected[f"{modality}_local_entropy"] = np.mean([-(row * np.log(row)).sum() for row in rows])
        mean = rows.mean(0)
        expected[f"{modality}_global_entropy"] = max(0.0, math.log(least) + (mean * np.log(mean)).sum())
    assert min(expected.values()) > 0, "no bound is met: each loss is seen"
    expected["z_loss"] = np.mean(np.log(np.exp(logits[seen]).sum(-1)) ** 2)
    importance, load = [], []
    for group in (slice(0, 2), slice(2, 4)):  # V-MoE, appendix A, on each group
        sums = p[group][seen[group]].sum(0)
        importance.append((sums.std() / sums.mean()) ** 2)
        chance = np.zeros(EXPERTS)
        for own, noised in zip(logits[group][seen[group]], noisy[group][seen[group]], strict=True):
            chance += [1 - 0.5 * (1 + math.erf((noised.max() - value) / NOISE / math.sqrt(2))) for value in own]
        load.append((chance.std() / chance.mean()) ** 2)
    expected |= {"importance": np.mean(importance), "load": np.mean(load)}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(expected, rel=1e-10)
    total, plain = weighted([sums_of(layer, SEEN, PATCHES, NOISE)] * 2, settings)
    assert total["load"].item() == pytest.approx(2 * 0.005 * expected["load"], rel=1e-10)
    assert plain["z_loss"].item() == pytest.approx(2 * expected["z_loss"], rel=1e-10)


def test_enough_experts_cost_nothing():
    settings = TrainSettings(batch_size=N, image_experts=2, text_experts=2)
    found = losses_of(sums_of(routed(), SEEN, PATCHES, NOISE), settings)
    assert found["text_global_entropy"].item() == found["image_global_entropy"].item() == 0
    assert "image_local_entropy" not in found, "its weight is 0"


def dispatch(capacity, groups=1, noise=0.0):
    draws = torch.Generator().manual_seed(7)
    fixed = noise * torch.randn(N, PATCHES + WORDS, EXPERTS, generator=draws)
    return Dispatch(capacity, groups, lambda layer: fixed, lambda rows: rows, slice(None))


@pytest.fixture
def layer():
    torch.manual_seed(0)
    moe = MixtureOfExperts(8, 16, EXPERTS)
    return moe, torch.randn(N, PATCHES + WORDS, 8)


def by_hand(moe, x, decision):
    """Token by token."""
    rows = torch.zeros_like(x)
    for pair, token in decision.taken.nonzero().tolist():
        number = int(decision.expert[pair, token])
        hidden = F.gelu(moe.fc_weight[number] @ x[pair, token] + moe.fc_bias[number])
        rows[pair, token] = decision.gate[pair, token] * (moe.proj_weight[number] @ hidden + moe.proj_bias[number])
    return rows


@pytest.mark.parametrize(("capacity", "groups"), [(0.6, 1), (0.6, 2), (None, 1)])
def test_an_expert_takes_its_capacity_of_the_tokens_with_the_largest_gates(layer, capacity, groups):
    moe, x = layer
    out, decision = moe(x, SEEN, dispatch(capacity, groups, noise=1.0))
    torch.testing.assert_close(out, by_hand(moe, x, decision))
    assert not (decision.taken & ~SEEN).any()
    expected = torch.zeros_like(SEEN)
    for group in torch.arange(N).chunk(groups):
        own = SEEN[group]
        most = PATCHES * WORDS * N if capacity is None else math.ceil(int(own.sum()) * capacity / EXPERTS)
        for expert in range(EXPERTS):
            here = (decision.expert[group] == expert) & own
            best = sorted((-decision.gate[group][tuple(place)].item(), place) for place in here.nonzero().tolist())[:most]
            for _, (pair, token) in best:
                expected[group[pair], token] = True
    assert torch.equal(decision.taken, expected)
    assert (capacity is None) == bool(decision.taken[SEEN].all())


def test_without_a_dispatch_no_token_is_dropped_and_pairs_do_not_depend_on_each_other(layer):
    moe, x = layer
    out, decision = moe.eval()(x, SEEN)
    assert torch.equal(decision.taken, SEEN)
    torch.testing.assert_close(out, by_hand(moe, x, decision))
    torch.testing.assert_close(moe(x[2:3], SEEN[2:3])[0][0], out[2])
    assert not out[1, -2:].any(), "padding goes nowhere"


def test_the_router_is_in_float32_under_autocast(layer):
    moe, x = layer
    plain = moe(x, SEEN, dispatch(1.0, noise=1.0))[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, cast = moe(x, SEEN, dispatch(1.0, noise=1.0))
    for first, second in zip(plain, cast, strict=True):
        assert torch.equal(first, second)
    assert cast.logits.dtype == moe.route(x.bfloat16(), SEEN, None, 0).logits.dtype == torch.float32
    assert torch.isfinite(out).all()


def test_noise_is_that_of_seed_step_and_layer():
    settings = TrainSettings(batch_size=2, router_noise=2.0)
    drawn = lambda seed, step, layer: dispatch_of(settings, 2, 3, 4, seed=seed, step=step).noise(layer)  # noqa: E731
    assert torch.equal(drawn(0, 1, 0), drawn(0, 1, 0))
    assert not any(torch.equal(drawn(0, 1, 0), other) for other in (drawn(1, 1, 0), drawn(0, 2, 0), drawn(0, 1, 1)))
    many = dispatch_of(settings, 500, 10, 4, seed=0, step=0).noise(0)
    assert many.std().item() == pytest.approx(2 / 4, rel=0.02)


def test_dropped_tokens_and_experts_in_use_are_counted():
    layer = routed()
    taken = SEEN.clone()
    taken[0, 0] = taken[1, PATCHES] = taken[3, PATCHES] = False
    sums = sums_of(layer._replace(taken=taken), SEEN, PATCHES, NOISE)
    one = sums_of(layer._replace(expert=torch.zeros_like(layer.expert)), SEEN, PATCHES, NOISE)
    found = {name: value.item() for name, value in figures([sums, one]).items()}
    assert found["image_dropped"] == pytest.approx(1 / 40)
    assert found["text_dropped"] == pytest.approx(2 / 18)
    assert found["image_experts_in_use"] == found["text_experts_in_use"] == pytest.approx(1)
    assert figures([sums])["text_experts_in_use"].item() > 1


OFF = dict.fromkeys(("text_local_entropy", "image_global_entropy", "text_global_entropy"), 0.0)


@pytest.mark.parametrize(("weights", "least", "most"), [(OFF, 1.0, 1.3), ({}, 1.8, 8.0)], ids=["without", "with"])
def test_without_the_entropy_losses_text_collapses_onto_one_expert_and_with_them_it_does_not(weights, least, most):
    """48 patches and 8 words a pair; the words share a direction, as those of one modality do."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pairs, patches, words, width, experts = 16, 48, 8, 16, 8
    draws = torch.Generator().manual_seed(0)
    image, text = (torch.randn(pairs, number, width, generator=draws) for number in (patches, words))
    shared = F.normalize(torch.randn(width, generator=draws), dim=0)
    x = F.layer_norm(torch.cat([image, 0.5 * text + 5 * shared], 1), (width,))
    target = torch.tanh(2 * x @ torch.randn(width, width, generator=draws) / width**0.5)
    moe, settings = MixtureOfExperts(width, 2 * width, experts), TrainSettings(batch_size=pairs, text_experts=4, **weights)
    optimizer, seen = torch.optim.Adam(moe.parameters(), lr=0.01), torch.ones(pairs, patches + words, dtype=torch.bool)
    for step in range(200):
        y, decision = moe(x, seen, dispatch_of(settings, pairs, patches + words, experts, seed=0, step=step))
        sums = of_all_pairs([sums_of(decision, seen, patches, 1 / experts)])
        loss = (x + y - target).square().mean() + sum(weighted(sums, settings)[0].values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = figures(sums)
    assert least <= found["text_experts_in_use"].item() + 1e-6 <= most
    assert found["image_experts_in_use"].item() > 5
