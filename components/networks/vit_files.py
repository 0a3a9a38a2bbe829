"""The layout of the ViT authors' npz files (Dosovitskiy et al. 2021, arXiv 2010.11929; Flax), in the names of ``vit``.

A dense layer's kernel is [in, out]; attention's are [D, heads, D / heads] for query, key and value and [heads, D / heads, D]
for the output; the patches' is [height, width, C, D].
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

TOP = {
    "cls": "cls_token",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "pos_embedding": "pos_embed",
    "embedding/kernel": "patch_embed.proj.weight",
    "embedding/bias": "patch_embed.proj.bias",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
    "head/kernel": "head.weight",
    "head/bias": "head.bias",
}
BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/(.+)")
ATTENTION = re.compile(r"MultiHeadDotProductAttention_\d+/(query|key|value|out)/(kernel|bias)")
NORM = re.compile(r"LayerNorm_(\d+)/(scale|bias)")
MLP = re.compile(r"MlpBlock_\d+/Dense_([01])/(kernel|bias)")
KIND = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def is_flax(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names are those of the authors' files."""
    return any(name.removeprefix("params/").startswith("embedding/") for name in state)


def from_flax(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and reshape the tensors of an authors' file; unknown names stay, so that they are named as left over."""
    renamed: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for published, tensor in state.items():
        name = published.removeprefix("params/")
        block = BLOCK.fullmatch(name)
        if block is None:
            renamed[TOP.get(name, name)] = _transposed(tensor) if name.endswith("/kernel") else tensor
            continue
        key, value = _in_block(block[2], tensor)
        target = f"blocks.{block[1]}.{key}"
        if key.startswith("attn.") and key.split(".")[1] in ("query", "key", "value"):
            third, kind = key.split(".")[1:]
            thirds.setdefault(f"blocks.{block[1]}.attn.qkv.{kind}", {})[third] = value
        else:
            renamed[target] = value
    return renamed | {key: torch.cat([parts[third] for third in ("query", "key", "value")]) for key, parts in _whole(thirds)}


def _whole(thirds: dict[str, dict[str, Tensor]]) -> list[tuple[str, dict[str, Tensor]]]:
    """The projections of which query, key and value are all in the file; another is then named as missing."""
    return [(key, parts) for key, parts in thirds.items() if len(parts) == 3]


def _in_block(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """One tensor of an encoder block -> (name below the block, tensor)."""
    if match := ATTENTION.fullmatch(name):
        part, kind = match.groups()
        if part == "out":
            return f"attn.proj.{KIND[kind]}", tensor.flatten(0, 1).t() if kind == "kernel" else tensor
        return f"attn.{part}.{KIND[kind]}", tensor.flatten(1).t() if kind == "kernel" else tensor.flatten()
    if match := NORM.fullmatch(name):
        return f"norm{1 if match[1] == '0' else 2}.{KIND[match[2]]}", tensor
    if match := MLP.fullmatch(name):
        return f"mlp.fc{int(match[1]) + 1}.{KIND[match[2]]}", _transposed(tensor) if match[2] == "kernel" else tensor
    return name, tensor


def _transposed(kernel: Tensor) -> Tensor:
    """[in, out] -> [out, in]; a convolution's [height, width, in, out] -> [out, in, height, width]."""
    return kernel.permute(3, 2, 0, 1) if kernel.dim() == 4 else kernel.t()
