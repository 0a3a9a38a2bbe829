"""Read a file of weights: tensors by clean names, out of the containers that published checkpoints wrap them in."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.weights.formats import format_of, refusal

# Keys of containers; what is first wins: moving averages before the weights that they average.
AVERAGED = ("model_ema", "state_dict_ema", "params_ema", "ema")
PLAIN = ("state", "state_dict", "model", "net", "params")
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")  # DataParallel and torch.compile, at any depth
PREFIXES = ("model.", "backbone.", "encoder.")  # removed if all names have one
DEPTH = 4  # containers in containers
SHOWN = 8  # names in a message
COLUMNS = {"label": "classes", "domain": "domains"}  # column of a view -> its names in an export's facts


@dataclass(frozen=True)
class Weights:
    """``state``: name -> tensor, or network -> its tensors. ``classes``: column -> class names, as far as the file tells them.

    ``notes``: what was unwrapped and left out.
    """

    state: dict[str, Any]
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_file(path: Path) -> dict[str, Any]:
    """Load all of a torch (weights only), safetensors or npz file. ValueError names the file and what is wrong with it."""
    return {"torch": _load_torch, "safetensors": _load_safetensors, "npz": _load_npz}[format_of(path)](path)


def read_weights(path: Path) -> Weights:
    """Read the weights of a file: out of their container, wrappers removed from the names, all finite.

    ValueError names the file, and the tensor that holds NaN or infinity.
    """
    loaded = load_file(path)
    state, notes = unwrapped(loaded)
    state, others = only_tensors(state)
    if not state:
        raise ValueError(f"{path}: holds no tensors by name; its keys: {_listed(map(str, loaded)) or 'none'}")
    notes += [f"{_listed(others)}: no tensors, left out"] if others else []
    try:
        state = without_wrappers(state)
        require_finite(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Weights(state, class_names(loaded, path), tuple(notes))


def unwrapped(loaded: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return (the weights in their containers, notes on a choice between containers)."""
    notes = []
    for _ in range(DEPTH):
        present = [key for key in (*AVERAGED, *PLAIN) if _has_tensors(loaded.get(key))]
        if not present:
            break
        if present[0] in AVERAGED:
            beside = f", not {present[-1]} beside them" if present[-1] in PLAIN else ""
            notes.append(f"{present[0]}: the averaged weights are taken{beside}")
        loaded = loaded[present[0]]
    return dict(loaded), notes


def _has_tensors(value: Any, depth: int = DEPTH) -> bool:
    """Return whether a mapping by names has a tensor, at any depth; an optimizer's state has numbers for names."""
    if not isinstance(value, Mapping) or depth == 0 or not all(isinstance(key, str) for key in value):
        return False
    return any(_is_tensor(item) or _has_tensors(item, depth - 1) for item in value.values())


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def only_tensors(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return (``state`` without counters, texts and optimizers, their names)."""
    kept = {key: value for key, value in state.items() if _is_tensor(value) or _has_tensors(value)}
    return kept, [str(key) for key in state if key not in kept]


def without_wrappers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Remove ``module.`` and ``_orig_mod.`` from all names, also within networks. ValueError if two names become one."""
    renamed: dict[str, Any] = {}
    for name, value in state.items():
        clean = WRAPPERS.sub("", name)
        if clean in renamed:
            raise ValueError(f"holds {clean!r} twice, with and without a wrapper's prefix")
        renamed[clean] = without_wrappers(value) if isinstance(value, Mapping) else value
    return renamed


def without_prefixes(state: Mapping[str, Any], own: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Remove prefixes that all names have and none of ``own``, the network's names, begins with; return notes on them."""
    notes, names = [], dict(state)
    for _ in range(DEPTH):
        common = [prefix for prefix in PREFIXES if names and all(name.startswith(prefix) for name in names)]
        if not common or any(name.startswith(common[0]) for name in own):
            break
        names = {name.removeprefix(common[0]): value for name, value in names.items()}
        notes.append(f"{common[0]}: removed from all names")
    return names, notes


def require_finite(state: Mapping[str, Any], network: str = "") -> None:
    """Raise ValueError that names the first tensor with NaN or infinity."""
    for name, value in state.items():
        if isinstance(value, Mapping):
            require_finite(value, f"{network}{name}.")
        elif value.is_floating_point() and not (good := value.isfinite()).all():
            bad = value.numel() - int(good.sum())
            raise ValueError(f"tensor {network}{name}: {bad} of its {value.numel()} numbers are NaN or infinite")


def class_names(loaded: Mapping[str, Any], path: Path) -> dict[str, tuple[str, ...]]:
    """Return column -> class names: of the view of a run of this project, or of the export that the file lies in."""
    settings = loaded.get("settings")
    view = settings.get("view") if isinstance(settings, Mapping) else None
    classes = view.get("classes") if isinstance(view, Mapping) else None
    if isinstance(classes, Mapping):
        return {str(column): tuple(names) for column, names in classes.items()}
    facts = path.parent / "facts.json"
    if not facts.is_file():
        return {}
    exported = json.loads(facts.read_text(encoding="utf-8"))
    return {column: tuple(exported[key]) for column, key in COLUMNS.items() if exported.get(key)}


def _load_torch(path: Path) -> dict[str, Any]:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types on foreign files
        raise ValueError(f"{path}: {refusal(path, error)}") from None
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path}: holds {type(loaded).__name__} instead of tensors by name")
    return dict(loaded)


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file as load_safetensors

    try:
        return dict(load_safetensors(path))
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from None


def _load_npz(path: Path) -> dict[str, Any]:
    import zipfile

    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, TypeError) as error:  # ValueError: it would be unpickled
        reason = "it holds Python objects, which are not opened" if "allow_pickle" in str(error) else str(error)
        raise ValueError(f"{path}: not an npz file of arrays ({reason})") from None


def _listed(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
