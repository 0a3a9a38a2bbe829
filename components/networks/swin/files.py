"""Published layouts of Swin Transformers: Microsoft's and timm's. Windows of another size: biases are adapted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..published import Fit, Note, listed

BUFFERS = ("relative_position_index", "relative_coords_table", "attn_mask")  # of Microsoft's files, and of timm's older ones
MERGING = re.compile(r"layers\.(\d+)\.downsample\.(.+)")
TABLE = "relative_position_bias_table"
COORDINATES = "relative_coords_table"
WINDOW = "trained_window"


def from_layouts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by our names. Microsoft's files keep a patch merging in the stage before it, timm's in its own.

    A bias table [offsets, heads] of a square window becomes [offsets down, offsets across, heads].
    """
    before = any(key.startswith("layers.0.downsample.") for key in state)
    renamed = {}
    for key, tensor in state.items():
        merging = MERGING.fullmatch(key)
        name = f"layers.{int(merging[1]) + 1}.downsample.{merging[2]}" if merging and before else key
        name = re.sub(r"^head\.fc\.", "head.", name)
        renamed[name] = square_table(tensor) if name.endswith(TABLE) else tensor
    return renamed


def square_table(table: Tensor) -> Tensor:
    """[side * side, heads] -> [side, side, heads]; any other table stays as it is, and will not fit."""
    side = math.isqrt(table.shape[0])
    return table.unflatten(0, (side, side)) if table.dim() == 2 and side * side == table.shape[0] else table


def leave_out_buffers(fit: Fit) -> None:
    """Leave out what follows from the window's size."""
    names = [key for key in fit.state if key.rpartition(".")[2] in BUFFERS]
    fit.leave_out("attn", names, "masks and tables of indices follow from the window's size")


def fit_bias_tables(fit: Fit) -> None:
    """Interpolate the bias tables of windows of another size, with one note for all of them."""
    pairs = []
    for key in [key for key in fit.own if key.endswith(TABLE) and key in fit.state]:
        table, own = fit.state[key], fit.own[key]
        if table.dim() == 3 and table.shape != own.shape and table.shape[-1] == own.shape[-1]:
            fit.state[key] = interpolate_table(table, (own.shape[0], own.shape[1]))
            fit.changed.add(key)
            pairs.append(f"{window_of(table)} to {window_of(own)}")
    if pairs:
        text = f"the file has other windows ({listed(dict.fromkeys(pairs))} tokens): {len(pairs)} tables interpolated"
        fit.notes.append(Note("adapted", TABLE, text))


def interpolate_table(table: Tensor, size: tuple[int, int]) -> Tensor:
    """[rows, columns, heads] -> [*size, heads]: bicubic (Liu et al. 2021, section 3.2, "Relative position bias")."""
    plane = table.permute(2, 0, 1)[None].float()
    return F.interpolate(plane, size=size, mode="bicubic").to(table.dtype)[0].permute(1, 2, 0)


def window_of(table: Tensor) -> str:
    """Window of a bias table, "rows x columns"."""
    return f"{(table.shape[0] + 1) // 2} x {(table.shape[1] + 1) // 2}"


def fit_bias_networks(fit: Fit) -> None:
    """Keep the unit of the file's offsets: its bias networks then give the biases of windows of any size.

    Our files hold it, Microsoft's tables of coordinates imply it, timm's do not say it: then the setting counts, with a note.
    """
    silent, pairs = False, []
    for key in [key for key in fit.own if key.endswith(WINDOW)]:
        own, table = fit.own[key], fit.state.get(key.replace(WINDOW, COORDINATES))
        if key not in fit.state:
            fit.state[key] = own if table is None else trained_window(table, own)
            fit.changed.add(key)
            silent |= table is None
        if fit.state[key].shape == own.shape and fit.state[key].tolist() != own.tolist():
            pairs.append("{} x {} to {} x {}".format(*fit.state[key].tolist(), *own.tolist()))
    if pairs:
        text = f"the file has other windows ({listed(dict.fromkeys(pairs))} tokens): {len(pairs)} biases recomputed"
        fit.notes.append(Note("adapted", "cpb_mlp", text))
    if silent:
        text = "the file does not name its windows; assumed: this network's, or model.pretrained_windows"
        fit.notes.append(Note("kept", WINDOW, text))


def trained_window(table: Tensor, own: Tensor) -> Tensor:
    """The window whose largest offset is 1 in a table of coordinates [1, 2 rows - 1, 2 columns - 1, 2]; for 1 row: 1.

    ValueError for a table of another shape.
    """
    if table.dim() != 4 or table.shape[-1] != 2:
        raise ValueError(f"{COORDINATES}: {tuple(table.shape)} is not of shape (1, offsets down, offsets across, 2)")
    sides = []
    for axis in (0, 1):
        side, largest = (table.shape[axis + 1] + 1) // 2, float(table[..., axis].max())
        sides.append(1 + round(8 * (side - 1) / (8**largest - 1)) if largest > 0 else 1)
    return torch.tensor(sides, dtype=own.dtype)
