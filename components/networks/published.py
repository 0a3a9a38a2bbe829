"""What reading published weights has in common; a model file knows its reference's names."""

from __future__ import annotations

from torch import Tensor, nn


def fit_head(model: nn.Module, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """``state`` with the model's own head where the file's does not serve, and a note that says so."""
    own = {key: value for key, value in model.state_dict().items() if key.startswith("head.")}
    classes = [tensors["head.bias"].numel() if "head.bias" in tensors else 0 for tensors in (state, own)]
    if classes[0] == classes[1]:
        return state, []
    found = f"{classes[0]} classes" if classes[0] else "no head"
    return {**state, **own}, [f"head: the file has {found}, this view {classes[1]}: starts fresh"]


def load_fitting(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load all of ``state``; ValueError lists the names and shapes that do not fit, 8 of each kind, before a weight changes."""
    own = model.state_dict()
    wrong = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "left over": sorted(state.keys() - own.keys()),
        "of another shape": [f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}" for key in wrong],
    }
    told = [f"{len(keys)} {kind}: {', '.join(keys[:8])}{', ...' * (len(keys) > 8)}" for kind, keys in faults.items() if keys]
    if told:
        raise ValueError(f"the published weights do not fit {type(model).__name__}: " + "; ".join(told))
    model.load_state_dict(state)
