"""Size of an export: megabytes of what is served, weights and multiply-adds of its graphs. The same on every machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.serving.float_graph import FLOAT

LOADED = ("*.onnx", "weights.safetensors")  # what served code loads
KERNEL, MATRICES = ("Conv",), ("MatMul", "Gemm")


@dataclass(frozen=True)
class Size:
    """``megabytes``: 10^6 bytes of graphs and weights that the served code loads, with those of linked models.

    ``weights``: floating-point numbers in its graphs. ``multiply_adds`` of one input, of convolutions and matrix products; None
    if a shape depends on the input. Both count the float graphs of a quantised export, whose network is the same.
    """

    megabytes: float
    weights: int
    multiply_adds: int | None


def size_of(export: Path) -> Size:
    """Return the size of the export in the folder ``export``."""
    graphs = sorted(path for path in export.glob("*.onnx") if path.name != FLOAT)
    floats = [export / FLOAT] if (export / FLOAT).is_file() else graphs
    counts = [counts_of(path) for path in floats]
    products = [product for _, product in counts]
    total = None if None in products else sum(filter(None, products))
    return Size(round(loaded_bytes(export) / 1e6, 4), sum(weights for weights, _ in counts), total)


def loaded_bytes(export: Path) -> int:
    """Return the bytes of all files that the served code loads."""
    files = {path for pattern in LOADED for path in export.rglob(pattern) if path.name != FLOAT}
    return sum(path.stat().st_size for path in files)


def counts_of(graph: Path) -> tuple[int, int | None]:
    """Count the weights and the multiply-adds of an ONNX graph at batch 1."""
    import onnx

    model = onnx.load(str(graph))
    floating = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    weights = sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in floating)
    for value in model.graph.input:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # they name the batch
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    products = list(_products(inferred, _shapes(inferred)))
    return weights, None if None in products else sum(filter(None, products))


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes that are known, by the tensor's name."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _products(graph: Any, shapes: dict[str, tuple[int, ...]]) -> Iterator[int | None]:
    """Yield the multiply-adds of each convolution and matrix product; None for unknown shapes."""
    for node in graph.node:
        if node.op_type not in (*KERNEL, *MATRICES, "ConvTranspose"):
            continue
        first, second, result = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
        if first is None or second is None or result is None:
            yield None
        elif node.op_type == "ConvTranspose":  # weight [C_in, C_out / groups, *kernel], applied at each input position
            yield math.prod(first) * math.prod(second[1:])
        elif node.op_type in KERNEL:  # weight [C_out, C_in / groups, *kernel], applied at each output position
            yield math.prod(result) * math.prod(second[1:])
        else:
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            yield math.prod(result) * first[-2 if transposed else -1]
