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
    """Raise Unavailable in a worker process whose code was edited between the start of the stage and its own imports."""
    started = read_started() or {"code": {}}
    mine = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for path, state in started["code"].items():
        if path in mine and list(file_state(path)) != state:
            raise Unavailable(
                f"{path} changed while {started['stage']} ran; it starts again with one code for all its processes"
            )


def mix(*parts: int | str) -> int:
    """Hash numbers and names to a seed in [0, 2**63), the same on every machine."""
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def set_threads(threads: int) -> None:
    """Use ``threads`` CPU threads in torch and OpenCV's pools. Bits of the result depend on the number."""
    import torch

    torch.set_num_threads(threads)


def pick_device(local_rank: int = 0) -> torch.device:
    """Return the device of the process ``local_rank`` on this machine: its own GPU if CUDA is available, else the CPU.

    ``DARKROOM_DEVICE`` overrides: ``cpu``, ``cuda``, or a device per process, ``cuda:1,cuda:3``. ValueError if there are too
    few.
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
    """Return whether the hardware multiplies bf16 natively: CUDA from Ampere on, or a CPU with AMX or AVX512-BF16.

    Measured on an AMD EPYC with AVX512-BF16 and no AMX: a training step of ResNet-18 takes 0.54 s instead of 1.00 s
    (`make bench`). On an Intel Xeon with AVX512-BF16 and no AMX bf16 is slower: 5.2 s instead of 4.5 s (batches of 128).
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def resolve_precision(precision: Precision | Literal["auto"], device: torch.device, prefers_fp32: bool) -> Precision:
    """Resolve ``auto``: "bf16" if the hardware multiplies it natively and the recipe does not prefer fp32, else "fp32"."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16(device) and not prefers_fp32 else "fp32"


@contextmanager
def exclusive_device(*devices: torch.device) -> Iterator[None]:
    """Hold the file lock of each GPU, so that no two trainings share one; CPUs are not locked.

    The locks are acquired in a fixed order: otherwise two trainings on the same GPUs could deadlock.
    """
    indices = sorted({device.index or 0 for device in devices if device.type != "cpu"})
    with ExitStack() as stack:
        for index in indices:
            stack.enter_context(locked(WORK / "locks" / f"cuda{index}"))
        yield
