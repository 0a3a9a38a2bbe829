"""Quantise the graph of a classifier to int8 by ONNX Runtime's own quantiser (Jacob et al. 2018, arXiv 1712.05877).

``model.onnx`` becomes the quantised graph, and the one that it was made from stays beside it as ``float.onnx``. Convolutions
and matrix products are quantised, weights to int8 per output channel; everything else stays in float, which measured quicker
and nearer to the float graph than quantising additions and activation functions too.
"""

from __future__ import annotations

import fnmatch
import importlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from components.core.files import write_atomically
from components.core.recipe import Exportable
from components.core.runtime import mix
from components.serving.float_graph import FLOAT, MODEL
from components.serving.session import onnxruntime
from components.stages.export.onnx_graph import deterministic_bytes, open_session, quiet_logs
from components.stages.views.view import View

# After `session`, which switches the reports of ONNX Runtime off before its first import.
quantization: Any = importlib.import_module(f"{onnxruntime.__name__}.quantization")
calibrate: Any = importlib.import_module(f"{onnxruntime.__name__}.quantization.calibrate")

STATIC, DYNAMIC = ("Conv", "Gemm", "MatMul"), ("Gemm", "MatMul")  # kinds of nodes that are quantised: docs/serving.md
BATCH = 16
NAMED = 8  # nodes in an error


def quantise(exportable: Exportable, settings: Any, view: View, folder: Path, *, seed: int, threads: int) -> None:
    """Quantise ``model.onnx`` in ``folder`` by the ``export`` block ``settings``; the same bytes every time.

    ``seed`` draws the calibration images. ValueError if no node would be quantised.
    """
    assert list(exportable.graphs) == ["model"], "a family with one graph of images"
    (folder / MODEL).rename(folder / FLOAT)
    static = settings.quantise == "static"
    model = clean(folder / FLOAT)
    kept = kept_nodes(model, STATIC if static else DYNAMIC, settings.float_nodes)
    with tempfile.TemporaryDirectory() as scratch, quiet_logs():
        source, written = Path(scratch) / "source.onnx", Path(scratch) / "written.onnx"
        source.write_bytes(deterministic_bytes(model))
        if static:
            images = calibration_images(view, settings.calibration_images, seed)
            ranges = write_ranges(source, images, threads)
            quantise_static(source, written, ranges, kept=kept, settings=settings)
        else:
            quantise_dynamic(source, written, kept=kept, settings=settings)
        write_atomically(folder / MODEL, deterministic_bytes(onnx.load(str(written))))


def calibration_images(view: View, number: int, seed: int) -> Iterator[np.ndarray]:
    """Yield batches of drawn validation images, float32 [n, C, H, W] in [-1, 1]."""
    rows = calibration_rows(view.facts.counts["validation"], number, seed)
    for batch in view.batches("validation", BATCH, (), rows=rows):
        yield batch["image"].numpy()


def calibration_rows(count: int, number: int, seed: int) -> np.ndarray:
    """Draw ``number`` of ``count`` images, or take all if there are fewer: sorted int64 [n]."""
    random = np.random.Generator(np.random.PCG64(mix(seed, "calibration")))
    return np.sort(random.permutation(count)[:number])


def clean(path: Path) -> Any:
    """Read a graph in the form that the quantiser needs: every node has a name, and no weight a second note of its shape.

    The quantiser transposes weights and leaves the notes as they were; its own check of shapes then fails.
    """
    model = onnx.load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    shapes = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return model


def kept_nodes(model: Any, kinds: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names of the nodes of ``kinds`` to keep in float: those whose kind or name matches a pattern.

    ValueError for a pattern that matches nothing, and if nothing is left to quantise.
    """
    nodes = {node.name: node.op_type for node in model.graph.node if node.op_type in kinds}
    kept: set[str] = set()
    for pattern in patterns:
        matching = {name for name, kind in nodes.items() if kind == pattern or fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            listed = ", ".join(list(nodes)[:NAMED]) + (f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else "")
            raise ValueError(f"export.float_nodes: {pattern!r} matches none of the nodes that would be quantised: {listed}")
        kept |= matching
    if not nodes.keys() - kept:
        raise ValueError(f"export.quantise: the graph has no {' or '.join(kinds)} node to quantise, or float_nodes keeps all")
    return sorted(kept)


def write_ranges(source: Path, images: Iterator[np.ndarray], threads: int) -> Path:
    """Write the ranges of the inputs and outputs of the quantised nodes over ``images`` to a file beside ``source``.

    The session is ours: the quantiser's own takes all cores, and the order of a sum may depend on their number.
    """
    augmented, ranges = source.with_name("augmented.onnx"), source.with_name("ranges.json")
    calibrator = calibrate.create_calibrator(source, list(STATIC), str(augmented))
    calibrator.infer_session = open_session(augmented, threads)
    calibrator.collect_data(Reader(images))
    calibrate.save_tensors_data(calibrator.compute_data(), ranges)
    return ranges


class Reader:
    """The quantiser's reader of calibration images."""

    def __init__(self, images: Iterator[np.ndarray]) -> None:
        self.images = images

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def quantise_static(source: Path, target: Path, ranges: Path, *, kept: list[str], settings: Any) -> None:
    """Quantise weights, and activations by their ``ranges``: pairs of nodes QuantizeLinear, DequantizeLinear."""
    quantization.quantize_static(
        str(source),
        str(target),
        None,
        quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(STATIC),
        nodes_to_exclude=kept,
        per_channel=True,
        reduce_range=settings.reduce_range,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibration_cache_path=str(ranges),
    )


def quantise_dynamic(source: Path, target: Path, *, kept: list[str], settings: Any) -> None:
    """Quantise weights; activations are quantised by the range of each input."""
    quantization.quantize_dynamic(
        str(source),
        str(target),
        op_types_to_quantize=list(DYNAMIC),
        nodes_to_exclude=kept,
        per_channel=True,
        reduce_range=settings.reduce_range,
        weight_type=quantization.QuantType.QInt8,
    )
