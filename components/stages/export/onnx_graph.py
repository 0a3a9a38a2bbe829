"""Export a torch module to ONNX deterministically, and compare it with torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.core.batch import Batch
from components.core.files import write_atomically
from components.core.recipe import Graph

CHECKED_BATCHES = (1, 7)
PairedOutputs = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # output -> array of torch, and of ONNX Runtime


class NamedInputs(nn.Module):
    """Wrapper that takes the graph's inputs in order and returns a tuple, as the exporter requires."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def write_graph(graph: Graph, batch: Batch, path: Path) -> None:
    """Export ``graph`` with a dynamic batch (torch's dynamo exporter) to one file without paths or other metadata."""
    inputs = graph.inputs(batch)
    dynamic = torch.export.Dim("batch", min=1)
    quiet = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), quiet_logs():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            NamedInputs(graph.module).eval(),
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(tuple({0: dynamic} for _ in inputs),),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    fixed = [value.name for value in model.graph.input if not value.type.tensor_type.shape.dim[0].dim_param]
    if fixed:  # len(tensor) in a forward does this without a warning
        inputs_named = ", ".join(fixed)
        raise ValueError(
            f"{path.name}: the exporter fixed the batch size of {inputs_named}; use tensor.shape[0] in the network"
        )
    write_atomically(path, deterministic_bytes(model))


@contextlib.contextmanager
def quiet_logs() -> Any:
    """Suppress warnings of the exporter and the quantiser about their own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def deterministic_bytes(model: Any) -> bytes:
    """Serialise the model proto in a fixed order, without metadata (source paths, stack traces, doc strings)."""
    model.doc_string = ""
    del model.metadata_props[:]
    _strip(model.graph)
    for function in model.functions:
        _strip_nodes(function.node)
        del function.metadata_props[:]
        function.doc_string = ""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _strip(graph: Any) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    for value in [*graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)


def open_session(path: Path, threads: int) -> Any:
    """Open an ONNX Runtime session on the CPU with a fixed number of threads, for a fixed order of sums."""
    from components.serving.session import onnxruntime  # which switches its telemetry off before it imports it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def paired_outputs(graph: Graph, path: Path, batches: list[Batch], threads: int) -> Iterator[PairedOutputs]:
    """Yield the outputs of torch and of ONNX Runtime for each of ``batches``."""
    session = open_session(path, threads)
    for batch in batches:
        inputs = graph.inputs(batch)
        with torch.no_grad():
            expected = NamedInputs(graph.module)(*inputs.values())
        actual = session.run(list(graph.outputs), {name: tensor.numpy() for name, tensor in inputs.items()})
        references = (tensor.numpy() for tensor in expected)
        yield dict(zip(graph.outputs, references, strict=True)), dict(zip(graph.outputs, actual, strict=True))


def largest_values(outputs: Iterable[PairedOutputs]) -> dict[str, float]:
    """Return output -> max |torch|, over its finite values."""
    largest: dict[str, float] = {}
    for expected, _ in outputs:
        for name, reference in expected.items():
            if reference.dtype != np.bool_:
                finite = np.abs(reference[np.isfinite(reference)])
                largest[name] = max(largest.get(name, 0.0), float(finite.max(initial=0.0)))
    return largest


def largest_differences(outputs: Iterable[PairedOutputs]) -> dict[str, float]:
    """Return output -> max |ONNX Runtime - torch|; infinite if either is not finite.

    Bool outputs are skipped; ``detector.py`` checks its own.
    """
    worst: dict[str, float] = {}
    for expected, actual in outputs:
        for name, reference in expected.items():
            if reference.dtype != np.bool_:
                difference = float(np.abs(reference - actual[name]).max())
                worst[name] = max(worst.get(name, 0.0), difference if np.isfinite(difference) else float("inf"))
    return worst
