"""Encoders: what masked image modelling (Xie et al. 2022, arXiv 2111.09886) and layer-wise learning rates need of a network.

A network with ``feature_map``, ``patch`` and ``stride`` can be trained by masked image modelling; one with ``layer_ids`` can
have learning rates that fall from the head to the embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from .published import Fit

ENCODER = "encoder."
REST = ("decoder", "mask_token")  # parts of a SimMIM file that are no part of a classifier
STANDARDISATION = ("mean", "std")  # of the pre-training's images; a classifier has its own
BEIT = re.compile(r"(rel_pos_bias|blocks\.\d+\.attn)\.relative_position_bias_table|blocks\.\d+\.gamma_\d")
EMBEDDINGS = ("patch_embed", "cls_token", "pos_embed")
UNDECAYED = frozenset(
    {"pos_embed", "cls_token", "mask_token", "relative_position_bias_table", "logit_scale", "cpb_mlp"}
)  # parts of names


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter has weight decay: matrices and kernels; no biases, norms, tokens or positions."""
    return parameter.dim() > 1 and UNDECAYED.isdisjoint(name.split("."))


def layer_ids(network: nn.Module, parts: Mapping[str, int], last: int) -> dict[str, int]:
    """Return parameter name -> layer: of the embeddings 0, of ``parts`` (module -> layer) theirs, of all others ``last``."""
    layers = dict.fromkeys(EMBEDDINGS, 0) | dict(parts)
    names = [name for name, _ in network.named_parameters()]
    return {name: next((layers[part] for part in _parents(name) if part in layers), last) for name in names}


def _parents(name: str) -> list[str]:
    """Return "a.b.c", "a.b", "a" for "a.b.c"."""
    pieces = name.split(".")
    return [".".join(pieces[:end]) for end in range(len(pieces), 0, -1)]


def encoder_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a SimMIM file's tensors with the encoder's by their own names; the tensors of any other file as they are."""
    if not any(key.startswith(ENCODER) for key in state) or not any(key.startswith("decoder.") for key in state):
        return dict(state)
    return {key.removeprefix(ENCODER): tensor for key, tensor in state.items() if key not in STANDARDISATION}


def leave_pretraining_out(fit: Fit) -> None:
    """Leave out the head and the mask token of masked image modelling."""
    keys = [key for key in fit.state if key.partition(".")[0] in REST and key not in fit.own]
    fit.leave_out("decoder", keys, "head and mask token of masked image modelling")


def refuse_relative_bias(state: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a ViT with a bias of relative positions or layer scale (BEiT's, SimMIM's published ones)."""
    keys = [key for key in state if BEIT.fullmatch(key)]
    if keys:
        fault = f"{keys[0]}: the file's ViT has relative position biases or layer scale, as in BEiT and the published SimMIM"
        raise ValueError(f"{fault}, which vit does not have; allowed: a ViT with absolute positions, or a Swin for swin")
