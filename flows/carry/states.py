"""Compare two states of a training bit by bit: weights, optimizer states and averages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTS = ("recipe", "optimizers", "averages")  # of a checkpoint; the curves are observations


def load(path: Path) -> tuple[int, dict[str, Any]]:
    """Load the state written by ``probe``: (steps, name -> leaf), where leaves are tensors and plain values."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    state = {part: content["state"][part] for part in PARTS if part in content["state"]}
    return int(content["step"]), dict(_leaves(state, ""))


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else None
    if items is None:
        yield name, node
        return
    for key, value in items:
        yield from _leaves(value, f"{name}.{key}".lstrip("."))


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Describe the first leaf that differs; None if all are bit-identical."""
    if missing := [name for name in old if name not in new]:
        return f"{missing[0]} is not in the state of the new code"
    if extra := [name for name in new if name not in old]:
        return f"{extra[0]} is not in the state of the old code"
    return next((difference for name in old if (difference := _difference(name, old[name], new[name]))), None)


def _difference(name: str, old: Any, new: Any) -> str | None:
    import torch

    if not (isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor)):
        same = type(old) is type(new) and old == new
        return None if same else f"{name} was {old!r} and is {new!r}"
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{name} was {old.dtype} {tuple(old.shape)} and is {new.dtype} {tuple(new.shape)}"
    if _bytes(old) == _bytes(new):
        return None
    worst = (old.double() - new.double()).abs().max().item()
    return f"{name} {tuple(old.shape)} differs, by {worst:.3g} at most"


def digest(state: dict[str, Any]) -> str:
    """Return SHA-256 of all leaves: names, kinds, shapes and bytes."""
    import torch

    total = hashlib.sha256()
    for name in sorted(state):
        leaf = state[name]
        kind = f"{leaf.dtype}{tuple(leaf.shape)}" if isinstance(leaf, torch.Tensor) else type(leaf).__name__
        total.update(f"{name}\x1f{kind}\x1f".encode())
        total.update(_bytes(leaf) if isinstance(leaf, torch.Tensor) else repr(leaf).encode())
    return total.hexdigest()


def _bytes(tensor: Any) -> bytes:
    data: bytes = tensor.contiguous().flatten().view(_byte_type()).numpy().tobytes() if tensor.numel() else b""
    return data


def _byte_type() -> Any:
    import torch

    return torch.uint8
