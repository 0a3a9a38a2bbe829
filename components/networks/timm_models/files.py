"""Names of the tensors in timm's files, and their sizes for other images."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

from ..published import Fit, Note, below, listed

OTHER_HEAD = "the file's head is not one linear layer on these features"


def layers(backbone: Any, which: str) -> tuple[str, ...]:
    """Return the names of timm's last ("classifier") or first ("first_conv") layers."""
    names = backbone.pretrained_cfg.get(which) or ()
    return (names,) if isinstance(names, str) else tuple(names)


def from_timm(state: dict[str, Tensor], backbone: Any) -> dict[str, Tensor]:
    """timm's names -> ours: its last linear layer is ``head``, all others are below ``backbone``; ours are unchanged."""
    if any(key.startswith("backbone.") for key in state):
        return dict(state)
    last = layers(backbone, "classifier")
    renamed = {}
    for key, tensor in state.items():
        layer, _, kind = key.rpartition(".")
        renamed[f"head.{kind}" if (layer,) == last else f"backbone.{key}"] = tensor
    return renamed


def fit_size(fit: Fit, backbone: Any) -> None:
    """Adapt what depends on the image size (positions, biases of windows) by timm's own rule for this network."""
    adapt = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    body = {key.removeprefix("backbone."): fit.state[key] for key in below("backbone", fit.state)}
    if adapt is None or not body:
        return
    try:
        adapted = adapt(dict(body), backbone)
    except Exception:  # a file of another network: what does not fit is listed when it is loaded
        return
    resized = [key for key in adapted if key in body and adapted[key].shape != body[key].shape]
    fit.drop(f"backbone.{key}" for key in body)
    fit.state |= {f"backbone.{key}": tensor for key, tensor in adapted.items()}
    fit.changed |= {f"backbone.{key}" for key in resized}
    if resized:
        tensors = f"{len(resized)} tensors, {listed(resized)}" if len(resized) > 1 else resized[0]
        fit.notes.append(Note("adapted", "backbone", f"{tensors}: interpolated to this image size by timm's rule"))


def leave_other_heads_out(fit: Fit, backbone: Any) -> None:
    """Leave the file's head out if it is more than one layer (of distilled networks)."""
    last = layers(backbone, "classifier")
    if len(last) == 1:
        return
    tops = {name.partition(".")[0] for name in last}
    others = [key for top in tops for key in below(f"backbone.{top}", fit.state) if key not in fit.own]
    fit.leave_out(" and ".join(last) or "head", others, OTHER_HEAD)
