"""Device, precision, threads and seeds."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from components.core.errors import Unavailable
from components.core.files import file_state, locked
from components.core.settings import WORK, read_started

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]


def require_code_at_start() -> None:
    """In a worker process: Unavailable if the stage's code was edited between its start and this process's imports."""
    started = read_started() or {"code": {}}
    mine = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for path, state in started["code"].items():
        if path in mine and list(file_state(path)) != state:
            raise Unavailable(
                f"{path} changed while {started['stage']} ran; it starts again with one code for all its processes"
            )


def mix(*parts: int | str) -> int:
    """A seed in [0, 2**63) from numbers and names; the same on every machine, and different parts give unrelated seeds."""
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def set_threads(threads: int) -> None:
    """Use ``threads`` CPU threads in torch and OpenCV's pools. Bits of the result depend on the number."""
    import torch

    torch.set_num_threads(threads)


def pick_device(local_rank: int = 0) -> torch.device:
    """The device of this machine's process ``local_rank`` of a training: a GPU of its own where there is CUDA, else the CPU.

    ``DARKROOM_DEVICE`` overrides: ``cpu``, ``cuda``, or a device for each process, ``cuda:1,cuda:3``. ValueError where there
    are too few.
    """
    import torch

    names = (os.environ.get("DARKROOM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")).split(",")
    if names == ["cpu"]:
        return torch.device("cpu")
    if names == ["cuda"]:
        names = [f"cuda:{index}" for index in range(max(1, torch.cuda.device_count()))]
    if local_rank >= len(names):
        raise ValueError(f"process {local_rank} on this machine has no device left: there are {', '.join(names)}")
    return torch.device(names[local_rank].strip())


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 natively: CUDA from Ampere on, or a CPU with AMX or AVX512-BF16.

    Measured on a CPU with AVX512-BF16 and no AMX: a training step of ResNet-18 takes 0.54 s instead of 1.00 s (`make bench`).
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def resolve_precision(precision: Precision | Literal["auto"], device: torch.device, prefers_fp32: bool) -> Precision:
    """``auto`` -> "bf16" where the hardware multiplies it natively and the recipe does not say that it hurts, else "fp32"."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16(device) and not prefers_fp32 else "fp32"


@contextmanager
def exclusive_device(*devices: torch.device) -> Iterator[None]:
    """Hold the file lock of each device, so that two trainings never share one GPU; a CPU is shared by its threads.

    They are taken in one order everywhere: two trainings that want the same GPUs would otherwise wait for each other.
    """
    indices = sorted({device.index or 0 for device in devices if device.type != "cpu"})
    with ExitStack() as stack:
        for index in indices:
            stack.enter_context(locked(WORK / "locks" / f"cuda{index}"))
        yield
