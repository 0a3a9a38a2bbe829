"""What a training step asks for: one update, one source of randomness. The only file that knows of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from components.runtime import mix

# Losses of updates whose finiteness has not been read yet, by term: reading a CUDA flag would stall the queue at every step.
_unread: dict[str, Tensor] = {}


class NonFiniteLoss(ValueError):
    """A loss term or its gradient is NaN or infinite; the message names the terms."""


def optimize(losses: Tensor | Mapping[str, Tensor], *optimizers: Optimizer, clip_norm: float | None = None) -> Tensor:
    """One update on the sum of ``losses``: zero, backward, average over processes, check, clip, step.

    ``losses``: scalars by name (a bare tensor is named "loss"). ``clip_norm`` bounds the gradient's global L2 norm. Returns the
    detached sum. On a CPU a non-finite term or gradient raises NonFiniteLoss before any weight changes; on CUDA it is noted,
    and ``raise_if_not_finite`` raises it later.
    """
    terms = {"loss": losses} if isinstance(losses, Tensor) else dict(losses)
    total = torch.stack([term.float() for term in terms.values()]).sum()
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    with torch.autocast(total.device.type, enabled=False):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        average_gradients(parameters)
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


def average_gradients(parameters: list[Tensor]) -> None:
    """Replace each gradient by its mean over the processes; None counts as zero. With one process nothing happens."""
    _, world = processes()
    if world == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    flat /= world
    offset = 0
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad.copy_(flat[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()


def draw(
    shape: tuple[int, ...],
    *,
    seed: int,
    step: int,
    use: str,
    kind: Literal["normal", "uniform"] = "normal",
    device: torch.device | str = "cpu",
) -> Tensor:
    """Random numbers [n, ...] of one purpose ``use`` at one step: N(0, 1) or U[0, 1).

    ``shape[0]`` is this process's share n of the batch; the numbers are drawn for the global batch and sliced by rank, so that
    they do not depend on the number of processes, nor on what was drawn before.
    """
    rank, world = processes()
    generator = torch.Generator(device).manual_seed(mix(seed, step, use))
    sample = torch.randn if kind == "normal" else torch.rand
    drawn = sample((shape[0] * world, *shape[1:]), generator=generator, device=device)
    return drawn[rank * shape[0] : (rank + 1) * shape[0]]
