"""Building blocks of a training step: the optimizer update, random numbers, and the global batch.

This is the only module in a training step that handles several processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from components.core.runtime import mix

NEVER = 2**62  # larger than any step


class NonFiniteLoss(ValueError):
    """A loss term or its gradient is NaN or infinite; the message names the step and the terms."""


class FiniteCheck:
    """The first step at which each loss term of one training was not finite.

    The record stays on the terms' device until it is read: reading a CUDA tensor at every update would stall the queue.
    """

    def __init__(self) -> None:
        self.step: int | None = None  # set by the loop before each step
        self._broken: dict[str, Tensor] = {}  # term -> int64 [], a step or NEVER

    def note(self, terms: Mapping[str, Tensor]) -> None:
        """Record the scalars of one update."""
        for name, term in terms.items():
            broken = torch.where(torch.isfinite(term.detach()), NEVER, self.step or 0)
            self._broken[name] = torch.minimum(self._broken[name], broken) if name in self._broken else broken

    def read(self) -> None:
        """Raise NonFiniteLoss naming the first non-finite step and its terms; clear the record."""
        steps = dict(zip(self._broken, torch.stack([*self._broken.values()]).tolist(), strict=True)) if self._broken else {}
        self._broken = {}
        first = min(steps.values(), default=NEVER)
        if first < NEVER:
            where = "" if self.step is None else f"step {first}: "
            raise NonFiniteLoss(f"{where}not finite: {', '.join(name for name, step in steps.items() if step == first)}")


_training: ContextVar[FiniteCheck | None] = ContextVar("training", default=None)


@contextmanager
def finite_check() -> Iterator[FiniteCheck]:
    """Share one FiniteCheck between the updates of the block; the caller reads it. Elsewhere every update reads its own."""
    check = FiniteCheck()
    token = _training.set(check)
    try:
        yield check
    finally:
        _training.reset(token)


def optimize(losses: Tensor | Mapping[str, Tensor], *optimizers: Optimizer, clip_norm: float | None = None) -> Tensor:
    """Update the weights on the sum of ``losses``: zero, backward, average over processes, check, clip, step.

    ``losses``: scalars by name (a bare tensor is named "loss"), means over this process's share of the batch. ``clip_norm``
    bounds the gradient's global L2 norm. Returns the detached sum. On a CPU a non-finite term or gradient raises NonFiniteLoss
    before any weight changes; on CUDA the training's FiniteCheck raises it later. All processes see the means of the terms,
    so that all raise or none. The optimizer skips a parameter that has no gradient on any process.

    Autocast's cache is cleared: a forward pass after the update does not see bf16 copies of the weights before it.
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
        _check_finite({**terms, "gradient": norm.to(total.device)})
        if clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        for optimizer in optimizers:
            optimizer.step()
    torch.clear_autocast_cache()
    return total.detach()


def _check_finite(terms: Mapping[str, Tensor]) -> None:
    training = _training.get()
    check = training or FiniteCheck()
    check.note(terms)
    if training is None or all(term.device.type == "cpu" for term in terms.values()):
        check.read()


def processes() -> tuple[int, int]:
    """Return (rank, world size) of this training."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def average(parameters: list[Tensor], terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each gradient by its mean over the processes; return the means of the scalars ``terms``.

    A missing gradient counts as zero if another process has one, and stays None otherwise. Gradients and terms share one
    all-reduce. With one process this is a no-op.
    """
    _, world = processes()
    if world == 1:
        return dict(terms)
    for parameter, used in zip(parameters, _used_anywhere(parameters), strict=True):
        if used and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = torch.stack([term.detach().to(parameters[0].dtype) for term in terms.values()])
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), values])
    dist.all_reduce(flat)
    *means, values = (flat / world).split([*(gradient.numel() for gradient in gradients), len(terms)])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    return dict(zip(terms, values, strict=True))


def _used_anywhere(parameters: list[Tensor]) -> list[bool]:
    """Return for each parameter whether any process has a gradient; reduced on CPUs, to avoid synchronising a GPU."""
    used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
    dist.all_reduce(used, op=dist.ReduceOp.MAX)
    return [bool(flag) for flag in used.tolist()]


def gather(rows: Tensor) -> Tensor:
    """Gather the rows [n, ...] of all processes in rank order: [n * processes, ...]. For losses over the global batch.

    Gradients flow back to the rows from every process. With ``optimize``, which averages over the processes, the update equals
    that of one process with the whole batch, whether each process computes the whole loss or the mean over its own rows. All
    processes must make the same calls and use the results in the same way, or they deadlock.
    """
    return rows if processes()[1] == 1 else _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    """``gather`` with its transpose as gradient and vice versa, so that second-order gradients are correct."""

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
    """Sum over the processes; each process returns its own rows (reduce-scatter)."""

    @staticmethod
    def forward(ctx: Any, everyone: Tensor) -> Tensor:
        rank, world = processes()
        total = everyone.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world)[rank].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Gather.apply(*gradients)


def opposite(rows: Tensor) -> Tensor:
    """Return for each of this process's rows [n, ...] its partner in the reversed global batch: row N - 1 - i for row i.

    No gradients flow back. Each process exchanges its rows with one other; all processes must make the same calls.
    """
    rank, world = processes()
    other = world - 1 - rank
    if other == rank:
        return rows.flip(0)
    rows = rows.contiguous()
    received = torch.empty_like(rows)
    exchange = [dist.P2POp(dist.isend, rows, other), dist.P2POp(dist.irecv, received, other)]
    for request in dist.batch_isend_irecv(exchange):
        request.wait()
    return received.flip(0)


def draw(
    shape: tuple[int, ...],
    *,
    seed: int,
    step: int,
    use: str,
    kind: Literal["normal", "uniform", "even"] = "normal",
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw random numbers [n, ...] for one purpose ``use`` at one step: N(0, 1) or U[0, 1).

    "even" is stratified U[0, 1): image i of n has u + i / n modulo 1 with a shared u, which reduces the variance of a mean
    over the batch (VDM, arXiv 2107.00630, appendix I.1).

    ``shape[0]`` is this process's share n of the batch; the numbers are drawn for the global batch and sliced by rank, so that
    they depend neither on the number of processes nor on earlier draws.
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
