"""What a training step asks for: one update, one source of randomness, one global batch.

The only file in a step that knows that several processes share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from components.core.runtime import mix

# Losses of updates whose finiteness has not been read yet, by term: reading a CUDA flag would stall the queue at every step.
_unread: dict[str, Tensor] = {}


class NonFiniteLoss(ValueError):
    """A loss term or its gradient is NaN or infinite; the message names the terms."""


def optimize(losses: Tensor | Mapping[str, Tensor], *optimizers: Optimizer, clip_norm: float | None = None) -> Tensor:
    """One update on the sum of ``losses``: zero, backward, average over processes, check, clip, step.

    ``losses``: scalars by name (a bare tensor is named "loss"), means over this process's share of the batch. ``clip_norm``
    bounds the gradient's global L2 norm. Returns the detached sum. On a CPU a non-finite term or gradient raises NonFiniteLoss
    before any weight changes; on CUDA it is noted, and ``raise_if_not_finite`` raises it later. All processes see the same
    terms, their means, so that all raise or none.
    """
    terms = {"loss": losses} if isinstance(losses, Tensor) else dict(losses)
    total = torch.stack([term.float() for term in terms.values()]).sum()
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    with torch.autocast(total.device.type, enabled=False):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        terms = average(parameters, terms)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        _note_finite({**terms, "gradient": norm})
        if clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        for optimizer in optimizers:
            optimizer.step()
    return total.detach()


def _note_finite(terms: Mapping[str, Tensor]) -> None:
    for name, term in terms.items():
        finite = torch.isfinite(term.detach())
        _unread[name] = _unread[name] & finite if name in _unread else finite
    if all(flag.device.type == "cpu" for flag in _unread.values()):
        raise_if_not_finite()


def raise_if_not_finite() -> None:
    """Read and clear the flags of all updates since the last reading; NonFiniteLoss names the terms that were not finite."""
    broken = [name for name, finite in _unread.items() if not finite]
    _unread.clear()
    if broken:
        raise NonFiniteLoss(f"not finite: {', '.join(broken)}")


def processes() -> tuple[int, int]:
    """(rank, number of processes) of this training."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def average(parameters: list[Tensor], terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each gradient by its mean over the processes; None counts as zero. Returns the means of the scalars ``terms``.

    One message carries both. With one process nothing happens.
    """
    _, world = processes()
    if world == 1:
        return dict(terms)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = torch.stack([term.detach().to(gradients[0].dtype) for term in terms.values()])
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), values])
    dist.all_reduce(flat)
    *means, values = (flat / world).split([*(gradient.numel() for gradient in gradients), len(terms)])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    return dict(zip(terms, values, strict=True))


def gather(rows: Tensor) -> Tensor:
    """All processes' rows, each [n, ...], in the order of ranks: [n * processes, ...]. For losses over the global batch.

    A row gets the gradients of its uses in every process. With ``optimize``, which averages over the processes, the update is
    that of one process with the whole batch, whether each process computes the whole loss or the mean over its own rows. All
    processes must call it alike and use the result alike, or they wait for each other.
    """
    return rows if processes()[1] == 1 else _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    """``gather``, and its transpose as gradient; each is the other's, so that gradients of gradients are right too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        everyone = [torch.empty_like(rows) for _ in range(processes()[1])]
        dist.all_gather(everyone, rows)
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _SumOfMine.apply(*gradients)


class _SumOfMine(torch.autograd.Function):
    """The sum over the processes, of which each keeps its own rows."""

    @staticmethod
    def forward(ctx: Any, everyone: Tensor) -> Tensor:
        rank, world = processes()
        total = everyone.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world)[rank].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Gather.apply(*gradients)


def draw(
    shape: tuple[int, ...],
    *,
    seed: int,
    step: int,
    use: str,
    kind: Literal["normal", "uniform", "even"] = "normal",
    device: torch.device | str = "cpu",
) -> Tensor:
    """Random numbers [n, ...] of one purpose ``use`` at one step: N(0, 1) or U[0, 1).

    "even" is U[0, 1) too, but spread over the batch: image i of n has u + i / n modulo 1, with one u, so that a mean over
    the batch varies less (VDM, arXiv 2107.00630, appendix I.1).

    ``shape[0]`` is this process's share n of the batch; the numbers are drawn for the global batch and sliced by rank, so that
    they do not depend on the number of processes, nor on what was drawn before.
    """
    rank, world = processes()
    whole = (shape[0] * world, *shape[1:])
    generator = torch.Generator(device).manual_seed(mix(seed, step, use))
    if kind == "even":
        first = torch.rand((1, *shape[1:]), generator=generator, device=device)
        index = torch.arange(whole[0], device=device).view(-1, *[1] * (len(shape) - 1))
        drawn = torch.remainder(first + index / whole[0], 1.0)
    else:
        drawn = (torch.randn if kind == "normal" else torch.rand)(whole, generator=generator, device=device)
    return drawn[rank * shape[0] : (rank + 1) * shape[0]]
