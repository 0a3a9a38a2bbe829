"""What a file is, told by its content: every container is read under any name, and everything else is named, never opened."""

import argparse
import io
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save

from components.core.weights.formats import format_of
from components.core.weights.reading import read_weights

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}


def torch_bytes(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def npz_bytes(arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zip_bytes(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


CONTAINERS = {
    "torch": torch_bytes(WEIGHTS),
    "torch of before 1.6": torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False),
    "safetensors": save(WEIGHTS),
    "npz": npz_bytes({name: tensor.numpy() for name, tensor in WEIGHTS.items()}),
}


@pytest.mark.parametrize("name", ["w", "w.pth.tar", "w.PTH", "w.pdparams", "w.h5"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_content_decides_whatever_the_name(tmp_path, container, name) -> None:
    (tmp_path / name).write_bytes(CONTAINERS[container])
    torch.testing.assert_close(read_weights(tmp_path / name).state, WEIGHTS)


def paddle_bytes() -> bytes:
    """As paddle.save writes a state dict: arrays, and the names by which the graph knows them."""
    return pickle.dumps(
        {"fc.weight": np.zeros((2, 2), np.float32), "StructuredToParameterName@@": {"fc.weight": "linear_0.w_0"}}
    )


OTHERS = {
    "an empty file": b"",
    "a Git LFS pointer, not the file itself; `git lfs pull` brings it": b"version https://git-lfs.github.com/spec/v1\noid 0\n",
    "a web page, not the file itself": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    r"a pickle of Paddle; .*paddle\.load\('w'\).*converts it": paddle_bytes(),
    r"an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "an ONNX graph": b"\x08\x08\x12\x07pytorch" + bytes(32),
    "a TensorFlow Lite model": b"\x1c\x00\x00\x00TFL3" + bytes(32),
    r"a torch or npz file .* breaks off after 300 bytes": torch_bytes(WEIGHTS)[:300],
    "a safetensors file that breaks off after 40 bytes": save(WEIGHTS)[:40],
    r"one array \(\.npy\)": b"\x93NUMPY\x01\x00",
    "compressed by gzip; unpack it first": b"\x1f\x8b\x08" + bytes(9),
    "a JSON text": b'{"weight_map": {}}',
    "a TorchScript program": zip_bytes("m/data.pkl", "m/constants.pkl", "m/code/m.py"),
    r"a zip archive that holds no weights but readme\.txt": zip_bytes("readme.txt"),
    r"no known format \(it begins with b'\\xde": b"\xde\xad\xbe\xef" * 9,
}


@pytest.mark.parametrize("told", OTHERS)
def test_everything_else_is_named(tmp_path, told) -> None:
    (tmp_path / "w").write_bytes(OTHERS[told])
    with pytest.raises(ValueError, match=f"^{tmp_path}/w: {told}"):
        format_of(tmp_path / "w")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_a_refused_torch_file_names_the_classes_in_it(tmp_path, new) -> None:
    path = tmp_path / "w.pth"
    held = {"model": WEIGHTS, "args": argparse.Namespace(lr=1), "best": np.float64(0.5)}
    path.write_bytes(torch_bytes(held, _use_new_zipfile_serialization=new))
    with pytest.raises(ValueError) as caught:
        read_weights(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: holds argparse.Namespace, numpy.")
    assert "which are no weights: nothing is opened; save the weights alone" in told
    assert "weights_only" not in told
    assert "False" not in told


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_plain_pickle_is_described_by_its_opcodes(tmp_path, protocol) -> None:
    data = pickle.dumps([argparse.Namespace(a=["b", "c"]), argparse.Namespace()], protocol)
    assert any("Namespace" in str(argument) for _, argument, _ in pickletools.genops(data))
    (tmp_path / "w.pkl").write_bytes(data)
    with pytest.raises(ValueError, match=r"a plain pickle of .*argparse\.Namespace.*may run code when it is opened and is not"):
        format_of(tmp_path / "w.pkl")


def test_a_npz_of_objects_is_refused_without_numpy_s_advice(tmp_path) -> None:
    (tmp_path / "w.npz").write_bytes(npz_bytes({"w": np.array([{}], dtype=object)}))
    with pytest.raises(ValueError, match=r"w\.npz: not an npz file of arrays \(it holds Python objects, which"):
        read_weights(tmp_path / "w.npz")
