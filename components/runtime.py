"""Device, precision, threads, seeds, and how a stage command starts and ends."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.settings import WORK

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_command(main: Callable[[], None]) -> None:
    """A stage's ``main``: dies with its parent, and says in one line what a user can mend (exit 2).

    ValueError and OSError are what a user can cause; their traceback is shown with ``DARKROOM_TRACEBACK=1``. Anything else is
    ours and keeps its traceback (exit 1).
    """
    die_with_parent()
    try:
        main()
    except (ValueError, OSError) as error:
        if os.environ.get("DARKROOM_TRACEBACK"):
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
        print(f"error: {error}\n  ({type(error).__name__} at {place}; DARKROOM_TRACEBACK=1 shows all)", file=sys.stderr)
        sys.exit(2)


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM when the parent dies, so that a killed flow or DVC leaves no orphan. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def argument(usage: str) -> str:
    """The command's single argument, a block's name."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise ValueError(f"usage: {usage}")
    return sys.argv[1]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file; it is free again when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds the old bytes or the new, never a part: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A new empty folder beside ``out``, which takes its place when the block ends well; a failure leaves ``out`` as it was."""
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def mix(*parts: int | str) -> int:
    """A seed in [0, 2**63) from numbers and names; the same on every machine, and different parts give unrelated seeds."""
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def set_threads(threads: int) -> None:
    """Use ``threads`` CPU threads in torch and OpenCV's pools. Bits of the result depend on the number."""
    import torch

    torch.set_num_threads(threads)


def pick_device() -> torch.device:
    """CUDA where there is one, else CPU. ``DARKROOM_DEVICE`` (cpu, cuda, cuda:1) overrides."""
    import torch

    return torch.device(os.environ.get("DARKROOM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 natively: CUDA from Ampere on, or a CPU with AMX or AVX512-BF16.

    Measured on a CPU with AVX512-BF16 and no AMX: a training step of ResNet-18 takes 0.54 s instead of 1.00 s (`make bench`).
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def resolve_precision(wanted: Precision | Literal["auto"], device: torch.device, bf16_hurts: bool) -> Precision:
    """``auto`` -> "bf16" where the hardware multiplies it natively and the recipe does not say that it hurts, else "fp32"."""
    if wanted != "auto":
        return wanted
    return "bf16" if multiplies_bf16(device) and not bf16_hurts else "fp32"


@contextmanager
def exclusive_device(device: torch.device) -> Iterator[None]:
    """Hold the device's file lock, so that two trainings never share one GPU; a CPU is shared by its threads."""
    if device.type == "cpu":
        yield
        return
    with locked(WORK / "locks" / f"{device.type}{device.index or 0}"):
        yield
