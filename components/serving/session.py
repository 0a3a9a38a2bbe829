"""ONNX Runtime as every served model starts it."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime


def threads() -> int:
    """One, so that the bits of a result do not depend on the machine's size; ``DARKROOM_SERVED_THREADS`` gives more."""
    return int(os.environ.get("DARKROOM_SERVED_THREADS") or 1)


def open_session(path: Path | str) -> onnxruntime.InferenceSession:
    """The graph at ``path``, on CUDA where this ONNX Runtime has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    available = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)
