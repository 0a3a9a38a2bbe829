"""ONNX Runtime sessions of served models."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import; by default it reports to its maker

import onnxruntime

__all__ = ["onnxruntime", "open_session", "threads"]


def threads() -> int:
    """Return ``DARKROOM_SERVED_THREADS``, by default 1, so that results do not depend on the number of cores."""
    return int(os.environ.get("DARKROOM_SERVED_THREADS") or 1)


def open_session(path: Path | str) -> onnxruntime.InferenceSession:
    """Open the graph at ``path``, on CUDA if this ONNX Runtime supports it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    available = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)
