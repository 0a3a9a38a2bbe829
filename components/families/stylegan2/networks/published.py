"""Published layouts of StyleGAN2's weights: rosinality's, whose names are ours, and NVIDIA's (stylegan2-ada-pytorch)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

GENERATOR, DISCRIMINATOR = "generator.", "discriminator."
PARTS = {"g_ema": GENERATOR, "g": GENERATOR, "G_ema": GENERATOR, "G": GENERATOR, "d": DISCRIMINATOR, "D": DISCRIMINATOR}


def from_file(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], bool]:
    """Return our names -> tensors, and whether the file has a mean style. Of G and its average the average is taken."""
    flat: dict[str, Tensor] = {}
    for part in (part for part in ("g", "G", "g_ema", "G_ema", "d", "D") if isinstance(state.get(part), Mapping)):
        flat = {key: value for key, value in flat.items() if not key.startswith(PARTS[part])}
        flat |= {PARTS[part] + key: value for key, value in state[part].items()}
    if not flat:
        flat = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if flat and not any(key.startswith((GENERATOR, DISCRIMINATOR)) for key in flat):
            flat = {(GENERATOR if _is_generator(flat) else DISCRIMINATOR) + key: value for key, value in flat.items()}
    mean = any(key.endswith(("w_avg", "latent_avg")) for key in flat)
    sides = [int(found[1]) for key in flat if (found := re.search(r"discriminator\.b(\d+)\.", key))]
    own: dict[str, Tensor] = {}
    for key, tensor in flat.items():
        name, _, rest = key.partition(".")
        ours = _of_generator(rest) if name == "generator" else _of_discriminator(rest, max(sides, default=0))
        if ours:
            own[f"{name}.{ours}"] = _shaped(ours, tensor)
    return own, mean


def _is_generator(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith(("style.", "mapping.fc", "synthesis.", "mapping.style")) for key in state)


def _of_generator(key: str) -> str:
    """Our name of a generator's tensor; "" for what is left out: filters, which are constants, and the mean style."""
    if key.endswith((".kernel", "resample_filter", "w_avg", "latent_avg")):
        return ""
    if found := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", key):
        return f"mapping.style.{int(found[1]) + 1}.{found[2]}"
    if found := re.fullmatch(r"synthesis\.b(\d+)\.(.+)", key):
        return _of_block(int(found[1]).bit_length() - 3, found[2])
    return f"mapping.{key}" if key.startswith("style.") else key


def _of_block(level: int, rest: str) -> str:
    """NVIDIA's tensor ``rest`` of the block of 4 * 2^level pixels."""
    if rest == "const":
        return "input.input"
    layer, _, tensor = rest.partition(".")
    if layer == "torgb":
        names = {"weight": "conv.weight", "affine.weight": "conv.modulation.weight", "affine.bias": "conv.modulation.bias"}
        return f"{'to_rgb1' if level == 0 else f'to_rgbs.{level - 1}'}.{names.get(tensor, tensor)}"
    index = 2 * (level - 1) + (layer == "conv1")  # of ``convs``; level 0 has conv1 alone
    if tensor == "noise_const":
        return f"noises.noise_{index + 1}"
    names = {
        "weight": "conv.weight",
        "affine.weight": "conv.modulation.weight",
        "affine.bias": "conv.modulation.bias",
        "noise_strength": "noise.weight",
        "bias": "activate.bias",
    }
    return f"{'conv1' if level == 0 else f'convs.{index}'}.{names[tensor]}"


def _of_discriminator(key: str, side: int) -> str:
    """Our name of a discriminator's tensor; ``side``: of the images, for NVIDIA's names."""
    if key.endswith((".kernel", "resample_filter")):
        return ""
    if found := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", key):
        return f"mapping.layers.{int(found[1]) + 1}.{found[2]}"
    found = re.fullmatch(r"b(\d+)\.(\w+)\.(weight|bias)", key)
    if not found:
        return key
    block, layer, tensor = int(found[1]), found[2], found[3]
    if block == 4:
        return {"conv": _activated("final_conv", tensor), "fc": f"final_linear.0.{tensor}", "out": f"final_linear.1.{tensor}"}[
            layer
        ]
    index = side.bit_length() - block.bit_length() + 1
    names = {"fromrgb": "convs.0", "conv0": f"convs.{index}.conv1", "conv1": f"convs.{index}.conv2"}
    if layer == "skip":
        return f"convs.{index}.skip.1.weight"
    return _activated(names[layer], tensor, filtered=layer == "conv1")


def _activated(name: str, tensor: str, *, filtered: bool = False) -> str:
    """The weight of a layer's convolution, or the bias of its activation; ``filtered``: a filter comes first."""
    return f"{name}.{(0 if tensor == 'weight' else 1) + filtered}.{tensor}"


def _shaped(name: str, tensor: Tensor) -> Tensor:
    """Tensors in our shapes: modulated weights without rosinality's leading axis, biases of images as planes."""
    if name.startswith(("conv1.conv.weight", "to_rgb1.conv.weight")) or re.match(r"(convs|to_rgbs)\.\d+\.conv\.weight", name):
        return tensor[0] if tensor.dim() == 5 else tensor
    if name == "input.input" and tensor.dim() == 3:
        return tensor[None]
    if re.fullmatch(r"to_rgb(1|s\.\d+)\.bias", name) and tensor.dim() == 1:
        return tensor.view(1, -1, 1, 1)
    if name.endswith("noise.weight") and tensor.dim() == 0:
        return tensor[None]
    if re.fullmatch(r"noises\.noise_\d+", name) and tensor.dim() == 2:
        return tensor[None, None]
    return tensor
