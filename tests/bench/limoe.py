"""A mixture of MLPs against one MLP of the size of an expert, which computes as many products: forward and backward.

64 pairs of 64 patches and 16 tokens, 128 numbers each, an MLP of 512, in training: noise, capacity 1.05, batch priority.
The first line has tokens that are spread evenly at random, the second all losses of the router too.
"""

import torch
from torch import nn

PAIRS, PATCHES, TOKENS, WIDTH, EXPERTS = 64, 64, 16, 128, 8
BAR = 1.3  # times the time of the dense MLP


def bench_limoe(ratio):
    """Seconds of both; ours over theirs is to be at most 1.3."""
    torch.set_num_threads(1)
    theirs = stepping(dense())
    for name, work in (("layer", sparse(losses=False)), ("layer with the router's losses", sparse(losses=True))):
        first, second, _ = ratio(theirs, stepping(work), rounds=9)
        times = f"dense {first * 1e3:.1f} ms, {EXPERTS} experts {second * 1e3:.1f} ms: {second / first:.2f} times"
        yield f"{name}: {times} (bar {BAR})"


def tokens():
    draws = torch.Generator().manual_seed(0)
    return torch.randn(PAIRS, PATCHES + TOKENS, WIDTH, generator=draws)


def dense():
    mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
    return lambda x: mlp(x).square().mean()


def sparse(*, losses):
    from components.families.limoe.routing import dispatch_of, of_all_pairs, sums_of, weighted
    from components.families.limoe.settings import TrainSettings
    from components.networks.mixture_of_experts import MixtureOfExperts

    moe, settings = MixtureOfExperts(WIDTH, 4 * WIDTH, EXPERTS), TrainSettings(batch_size=PAIRS)
    seen = torch.ones(PAIRS, PATCHES + TOKENS, dtype=torch.bool)

    def loss(x):
        y, routed = moe(x, seen, dispatch_of(settings, PAIRS, PATCHES + TOKENS, EXPERTS, seed=0, step=0))
        balance = weighted(of_all_pairs([sums_of(routed, seen, PATCHES, 1 / EXPERTS)]), settings)[0] if losses else {}
        return y.square().mean() + sum(balance.values())

    return loss


def stepping(work):
    x = tokens().requires_grad_()

    def step():
        x.grad = None
        work(x).backward()

    return step
