"""Add a fitted out-of-distribution detector to the classifier's graph."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.core import catalogue
from components.core.recipe import Exportable, Graph
from components.stages.export.onnx_graph import PairedOutputs

SCORE, REJECTION = "ood_score", "is_ood"  # outputs of the graph and of the served code
REFERENCE = "reference.npz"  # ood_score float32 [n]: the scores of the validation images
RELATIVE_BOUND = 1e-4  # of a largest score of 1 or more; measured: 9.1e-6 at most, see score_bound


class Detecting(nn.Module):
    """Classifier with detector: image -> (logits [N, K], features [N, F], ood_score float32 [N], is_ood bool [N]).

    ``is_ood`` is ood_score < threshold, and true for a score of NaN.
    """

    threshold: Tensor  # float32 []

    def __init__(self, classifier: nn.Module, detector: nn.Module, threshold: float):
        super().__init__()
        self.classifier, self.detector = classifier, detector
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float32))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits, features = self.classifier(image)
        score = self.detector(features, logits)
        return logits, features, score, ~(score >= self.threshold)


def served_detector(folder: Path) -> dict[str, Any]:
    """Read ``served.json``: detector, options, threshold, tpr and split. ValueError if no detector is served."""
    path = folder / "served.json"
    served: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not served:
        raise ValueError(f"{path}: no detector is served; name one in detect.<name>.serve, then run `dvc repro detect@<name>`")
    return served


def with_detector(exportable: Exportable, folder: Path) -> Exportable:
    """Add the detector that the detect stage wrote to ``folder`` to ``exportable``."""
    served = served_detector(folder)
    graph = exportable.graphs["model"]
    assert graph.outputs == ("logits", "features"), "a detector scores the logits and features of a classifier"
    module = Detecting(graph.module, load_detector(served, folder), served["threshold"]).eval()
    bounds = {**graph.bounds, SCORE: score_bound(folder / REFERENCE)}
    whole = dataclasses.replace(graph, module=module, outputs=(*graph.outputs, SCORE, REJECTION), bounds=bounds)
    # The threshold in float32 as in the graph, so that comparisons with it agree with the graph.
    description = {"name": served["detector"], "threshold": module.threshold.item(), "tpr": served["tpr"]}
    more = [{"name": SCORE, "dtype": "float32", "shape": [-1]}, {"name": REJECTION, "dtype": "bool", "shape": [-1]}]
    return dataclasses.replace(
        exportable,
        graphs={**exportable.graphs, "model": whole},
        facts={**exportable.facts, "detector": description},
        signature={**exportable.signature, "outputs": [*exportable.signature["outputs"], *more]},
    )


def load_detector(served: dict[str, Any], folder: Path) -> nn.Module:
    """Load the fitted detector in float32, from its name, its options and ``detector.safetensors``."""
    from safetensors.torch import load_file

    cls = catalogue.load("detector", served["detector"], "served.json: detector")
    if cls.needs_gradient:
        raise ValueError(f"served.json: {cls.name} needs a gradient by the input image, which an exported graph has not")
    state = folder / "detector.safetensors"
    detector: Any = cls(**served["options"])
    detector.load(load_file(state) if state.is_file() else {})  # a detector that fits nothing has no state
    module: nn.Module = detector.float()
    return module


def score_bound(path: Path) -> float:
    """Return the largest allowed difference of a score between ONNX Runtime and torch.

    It is relative to the largest score of the validation images, in ``path``. Measured with all twelve detectors on validation
    images: up to 9.1e-6 with 1,280 features (relative_mahalanobis; vim 2.8e-6), 1.5e-6 with 128 and 64.
    """
    with np.load(path, allow_pickle=False) as arrays:
        scores = arrays[SCORE]
    if not np.isfinite(scores).all():
        raise ValueError(f"{path}: scores of validation images are not finite; choose another detector, or train again")
    return RELATIVE_BOUND * max(1.0, float(np.abs(scores).max(initial=0)))


def check_rejections(name: str, graph: Graph, outputs: list[PairedOutputs]) -> None:
    """Raise ValueError if rejections contradict the scores, or differ from torch's for scores away from the threshold."""
    module: Any = graph.module
    threshold, bound = module.threshold.numpy(), graph.bounds[SCORE]
    for expected, actual in outputs:
        if not np.array_equal(actual[REJECTION], ~(actual[SCORE] >= threshold)):
            raise ValueError(f"{name}.onnx: {REJECTION} is not {SCORE} < {threshold:g}: nothing is exported")
        clear = np.abs(expected[SCORE] - threshold) > bound
        if not np.array_equal(actual[REJECTION][clear], expected[REJECTION][clear]):
            raise ValueError(f"{name}.onnx: {REJECTION} differs from torch away from the threshold: nothing is exported")
