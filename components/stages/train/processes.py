"""Distributed training: ranks, process group, and collective operations between the steps.

A training of N processes gives each an N-th of every batch; gradients, finite checks and logged scalars are those of the
whole batch (``components.core.step``). Only rank 0 reads and writes checkpoints, outs and live curves. Buffers, such as
the statistics of batch norm, are local to each process and rank 0's are saved: a recipe whose training reads a buffer must
write the same values on all processes, by ``gather``.

The environment is torchrun's: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Without it the train
stage starts its own processes on this machine (``components.stages.train.launch``).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from components.core.step import gather, processes
from components.stages.train.checkpoint import serialise

MEETING = "DARKROOM_MEETING"  # the rendezvous file of processes on one machine, set by the launcher: no port is opened
LAUNCHER = "DARKROOM_LAUNCHER"  # its process id


class ProcessLost(ConnectionError):
    """Another process of this training has ended or does not respond; progress since the last checkpoint is lost."""


@dataclass(frozen=True)
class Place:
    """The rank of this process: ``rank`` of ``world``, and on this machine ``local_rank`` of ``local_world``."""

    rank: int
    world: int
    local_rank: int
    local_world: int


def place_in(environment: Mapping[str, str], num_processes: int, key: str) -> Place | None:
    """Read this process's place from torchrun's environment; None if several processes are set and not yet started.

    ``num_processes``: the setting ``<key>.processes``. ValueError if it is not WORLD_SIZE, or a variable is missing or wrong.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return Place(0, 1, 0, 1) if num_processes == 1 else None
    rank, world = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    if world != num_processes:
        hint = f"set it to {world}, or start {num_processes} (without RANK and WORLD_SIZE the train stage starts its own)"
        raise ValueError(
            f"{key}.processes: {num_processes} is not the number of processes that were started, WORLD_SIZE={world}: {hint}"
        )
    if rank >= world:
        raise ValueError(f"RANK={rank} is not allowed: WORLD_SIZE={world} has the ranks 0 to {world - 1}")
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if world > 1 and missing and MEETING not in environment:
        raise ValueError(f"{' and '.join(missing)} must be set where RANK and WORLD_SIZE are: where the processes meet")
    local = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"} | dict(environment)
    return Place(rank, world, _number(local, "LOCAL_RANK"), _number(local, "LOCAL_WORLD_SIZE"))


def _number(environment: Mapping[str, str], name: str) -> int:
    if not environment[name].isdigit():
        raise ValueError(f"{name}={environment[name]!r} is not allowed: a whole number, 0 or more, is")
    return int(environment[name])


@contextmanager
def process_group(place: Place, device: torch.device) -> Iterator[None]:
    """Join the process group inside the block: gloo between CPUs, NCCL between GPUs (and gloo for their CPUs).

    Raises ProcessLost if another process ends or does not respond. With one process this is a no-op.
    """
    if place.world == 1:
        yield
        return
    if LAUNCHER in os.environ and os.getppid() != int(os.environ[LAUNCHER]):
        raise ProcessLost("the launcher of this training is gone")  # before the parent-death signal was set
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    meeting = os.environ.get(MEETING)
    store = dist.FileStore(meeting, place.world) if meeting else None  # type: ignore[attr-defined]
    with translate_backend_errors(place):
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.world)
        yield
        dist.destroy_process_group()  # not after an error: the others may never answer


@contextmanager
def translate_backend_errors(place: Place) -> Iterator[None]:
    """Raise ProcessLost for the backends' errors. Gloo has no error class of its own."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        reason = str(error).partition("\n")[0].partition(". ")[0][:200]
        fault = f"process {place.rank} of {place.world}: another process of this training is gone or does not answer"
        raise ProcessLost(f"{fault}: {reason}") from error


def anyone(flag: bool) -> bool:
    """Return whether ``flag`` is true on any process; reduced on CPUs, to avoid synchronising a GPU."""
    if processes()[1] == 1:
        return flag
    flags = torch.tensor([flag], dtype=torch.uint8)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags)


def require_same(what: str, digest: bytes) -> None:
    """Raise ValueError on all processes if any ``digest`` differs from rank 0's; the message names ``what`` and the ranks."""
    own = torch.frombuffer(bytearray(hashlib.sha256(digest).digest()[:8]), dtype=torch.int64)
    everyone = gather(own)
    if others := (everyone != everyone[0]).nonzero().flatten().tolist():
        ranks = ", ".join(str(rank) for rank in others)
        raise ValueError(f"{what} must be the same on all processes; rank 0's differ from those of rank {ranks}")


def digest(state: Mapping[str, Tensor]) -> bytes:
    """Compute the SHA-256 of the tensors' names and bytes."""
    sha256 = hashlib.sha256()
    for name, tensor in state.items():
        sha256.update(name.encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha256.digest()


def from_rank_0(state: Any) -> Any:
    """Broadcast rank 0's ``state`` to every process, without a shared file system. Tensors are received on the CPU."""
    rank, world = processes()
    if world == 1:
        return state
    data = torch.frombuffer(bytearray(serialise(state) if rank == 0 else b""), dtype=torch.uint8) if rank == 0 else None
    length = torch.tensor([0 if data is None else len(data)])
    dist.broadcast(length, src=0)
    if data is None:
        data = torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(data, src=0)
    return state if rank == 0 else torch.load(io.BytesIO(data.numpy().tobytes()), map_location="cpu", weights_only=True)
