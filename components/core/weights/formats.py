"""Formats of weight files, recognised by their content; ValueError says what else a file is, and what to do with it."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Literal

from components.core.weights.pickles import foreign_names, is_paddle

Format = Literal["torch", "safetensors", "npz"]

READABLE = "weights are read from torch, safetensors and npz files"
HEAD = 1 << 16  # bytes of the beginning that are looked at
# A torch file of before 1.6: the pickled magic number 0x1950a86a20f9469cfc6c.
LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
ONLY_WEIGHTS = "save the weights alone where the file comes from: torch.save(model.state_dict(), 'weights.pt')"
FROM_PADDLE = (
    "python -c \"import numpy, paddle; numpy.savez('{stem}.npz', **{{k: numpy.asarray(v) for k, v in "
    "paddle.load('{name}').items() if hasattr(v, 'shape')}})\""
)
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<?xml")
# Beginning of a file -> what it is, and what to do.
FOREIGN = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer, not the file itself; `git lfs pull` brings it",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (Keras, .h5); save its arrays by their names with numpy.savez",
    b"\x93NUMPY": "one array (.npy) without a name; save all by their names with numpy.savez",
    b"GGUF": "a GGUF file of a language model",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"BZh": "compressed by bzip2; unpack it first",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!": "a rar archive; unpack it first",
    b"%PDF": "a PDF document",
}


def format_of(path: Path) -> Format:
    """Recognise the file by its content. ValueError, which names the file, for anything but weights that can be read safely."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    size = path.stat().st_size
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _in_zip(path)
    if head.startswith(LEGACY_TORCH):
        return "torch"
    if len(head) > 8 and head[8:9] == b"{":
        (length,) = struct.unpack("<Q", head[:8])
        if length > size - 8:
            raise ValueError(f"{path}: a safetensors file that breaks off after {size:,} bytes; copy or download it again")
        return "safetensors"
    raise ValueError(f"{path}: {_what_else(path, head, size)}")


def _in_zip(path: Path) -> Format:
    """Tell the zip archives of torch and numpy from others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError, struct.error) as error:
        size = f"{path.stat().st_size:,}"
        fault = f"{path}: a torch or npz file (a zip archive) that breaks off after {size} bytes, or is damaged ({error})"
        raise ValueError(f"{fault}; copy or download it again") from None
    if any(name.rpartition("/")[2] == "constants.pkl" for name in names) and any("/code/" in name for name in names):
        raise ValueError(f"{path}: a TorchScript program, which holds code beside weights; {ONLY_WEIGHTS}")
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.endswith(".weights.h5") for name in names):
        raise ValueError(f"{path}: a Keras model; save its arrays by their names with numpy.savez")
    listed = ", ".join(names[:3]) or "nothing"
    raise ValueError(f"{path}: a zip archive that holds no weights but {listed}; {READABLE}")


def _what_else(path: Path, head: bytes, size: int) -> str:
    """Describe a file that is no file of weights."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    pickled = head[:1] in (b"\x80", b"(", b"}", b"]", b"c")
    foreign = next((words for magic, words in FOREIGN.items() if head.startswith(magic)), "")
    known = {
        "an empty file": size == 0,
        foreign: foreign != "",
        "a web page, not the file itself: its address leads to a page, or asks for a login": text.startswith(WEB_PAGE),
        "a TensorFlow Lite model, whose tensors have no names of their own": head[4:8] == b"TFL3",
        "an ONNX graph; take the file of weights that it was exported from": _is_onnx(head),
        "a tar archive, perhaps of a very old torch; unpack it, or save it again with a newer one": head[257:262] == b"ustar",
        _paddle(path): path.suffix in (".pdparams", ".pdopt") or (pickled and is_paddle(head)),
        "a JSON text, perhaps an index of several files, or an error message": text[:1] in (b"{", b"["),
    }
    described = next((words for words, applies in known.items() if applies), "")
    if described:
        return described
    return _plain_pickle(path) if pickled else f"no known format (it begins with {head[:8]!r}); {READABLE}"


def _is_onnx(head: bytes) -> bool:
    """Return whether the bytes begin with ONNX's ir_version (field 1) and one of the fields after it."""
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] < 0x20 and head[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42")


def _paddle(path: Path) -> str:
    command = FROM_PADDLE.format(stem=path.stem, name=path.name)
    return f"a pickle of Paddle; where paddle is installed, {command} converts it"


def _plain_pickle(path: Path) -> str:
    with path.open("rb") as file:
        holds = ", ".join(foreign_names(file)[:4])
    names = f" of {holds}" if holds else ""
    return f"a plain pickle{names}, which may run code when it is opened and is not; save its arrays with numpy.savez"


def refusal(path: Path, error: Exception) -> str:
    """Say why torch did not read a file: the foreign classes in it, or else the first line of torch's own error.

    torch's advice to load such a file without its safeguard is not repeated.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickled = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            try:
                names = foreign_names(io.BytesIO(archive.read(pickled)))
            except (zipfile.BadZipFile, OSError, EOFError):
                names = []
    else:
        with path.open("rb") as file:
            names = foreign_names(file)
    if names:
        plural = "are no weights" if len(names) > 1 else "is no weight"
        return f"holds {', '.join(names[:4])}{', ...' * (len(names) > 4)}, which {plural}: nothing is opened; {ONLY_WEIGHTS}"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "weights_only" in reason or "arbitrary code" in reason:
        reason = "its pickle holds more than tensors"
    return f"not a torch file that holds weights only, or a damaged one ({reason})"
