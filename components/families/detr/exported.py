"""The exported graphs: detector with post-processing, and the attention of its last layers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from components.core.batch import Batch, ViewFacts, pixels_of
from components.core.recipe import Exportable, Graph
from components.families.detr.boxes import corners
from components.families.detr.network.detr import DETR, Predictions

OUTPUTS = ("logits", "boxes", "score", "label", "box")


class Detector(nn.Module):
    """image [N, C, H, W] in [-1, 1] and ``mask`` bool [N, H, W] or None -> predictions of all layers; standardises inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: DETR, mean: Iterable[float], std: Iterable[float]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(1, -1, 1, 1))

    def standardised(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """Standardise; padded pixels become the mean, 0, as in DETR's code."""
        image = (image - self.mean) / self.std
        return image if mask is None else image * mask[:, None]

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Predictions:
        predictions: Predictions = self.network(self.standardised(image, mask), mask)
        return predictions


class DetectionGraph(nn.Module):
    """The detector with its post-processing: the ``detections`` best boxes, best first, in pixels of the original picture.

    Inputs: image; ``window`` float32 [N, 4], the part of the original picture that the image shows, (left, upper, right, lower)
    in its pixels, beyond its edges where the image is padded; ``size`` float32 [N, 2], its (height, width), to which boxes are
    clipped; ``mask`` bool [N, H, W], of a view with padding.
    Outputs: logits [N, Q, K'] and boxes [N, Q, 4] of the last layer; score [N, D], label int64 [N, D], box [N, D, 4]
    (x_min, y_min, x_max, y_max).
    """

    def __init__(self, detector: Detector, detections: int):
        super().__init__()
        self.detector = detector
        network = detector.network
        candidates = network.num_queries * (network.num_classes if network.conditional else 1)
        self.detections = min(detections, candidates)

    def forward(self, image: Tensor, window: Tensor, size: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        predictions = self.detector(image, mask)
        logits, boxes = predictions.logits[-1], predictions.boxes[-1]
        score, label, query = best(logits, self.detections, focal=self.detector.network.conditional)
        chosen = corners(boxes).gather(1, query.unsqueeze(-1).expand(-1, -1, 4))
        return logits, boxes, score, label, in_pixels(chosen, window, size)


def best(logits: Tensor, number: int, *, focal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(score, label, query) of the best detections, [N, number] each, the best first.

    Softmax: one detection a query, its likeliest class (DETR); sigmoids: of all pairs of query and class (Conditional DETR).
    """
    if focal:
        score, place = logits.sigmoid().flatten(1).topk(number)
        return score, place % logits.shape[-1], torch.div(place, logits.shape[-1], rounding_mode="floor")
    likeliest, label = logits.softmax(-1)[..., :-1].max(-1)
    score, query = likeliest.topk(number)
    return score, label.gather(1, query), query


def in_pixels(box: Tensor, window: Tensor, size: Tensor) -> Tensor:
    """Corners [N, D, 4] relative to the image -> pixels of the original picture, clipped to it."""
    low, high = window[:, None, :2], window[:, None, 2:]
    x_y = box.unflatten(-1, (2, 2)) * (high - low).unsqueeze(-2) + low.unsqueeze(-2)
    most = size.flip(-1)[:, None, None, :]
    return torch.minimum(x_y.clamp(min=0), most).flatten(-2)


class AttentionGraph(nn.Module):
    """image (and mask) -> attention of the last encoder layer [N, S, S] and decoder layer [N, Q, S], the mean over heads."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        attention: tuple[Tensor, Tensor] = self.detector.network.attention(self.detector.standardised(image, mask), mask)
        return attention


def exportable(detector: Detector, view: ViewFacts, *, detections: int, attention: bool, unseen: list[str]) -> Exportable:
    """The content of the export. ``unseen``: classes that the training never showed."""
    graph = DetectionGraph(detector, detections)
    # The order of the best boxes differs where two scores are equal but for rounding: `logits`, `boxes` and the sorted `score`
    # are what the parity check holds to its bound.
    bounds = {"label": float(len(view.classes["box_label"])), "box": float(max(view.height, view.width))}
    graphs = {"model": Graph(graph, lambda batch: graph_inputs(batch, view), OUTPUTS, bounds=bounds)}
    if attention:
        names = ("image", "mask")
        graphs["attention"] = Graph(
            AttentionGraph(detector),
            lambda batch: {name: tensor for name, tensor in graph_inputs(batch, view).items() if name in names},
            ("encoder", "decoder"),
        )
    facts = {"image_size": view.image_size, "channels": view.channels, "classes": list(view.classes["box_label"])}
    facts |= {
        "levels": detector.network.backbone.levels,
        "masked": view.masked,
        "unseen": unseen,
        "detections": graph.detections,
    }
    return Exportable(graphs, facts, signature(view, graph.detections), lambda batch: example(batch, view))


def graph_inputs(batch: Batch, view: ViewFacts) -> dict[str, Tensor]:
    """The inputs of the graph for images of the view, whose boxes stay in pixels of the image."""
    image = batch["image"]
    size = torch.tensor([[view.height, view.width]], dtype=torch.float32).repeat(image.shape[0], 1)
    window = torch.cat([torch.zeros_like(size), size.flip(-1)], 1)
    inputs = {"image": image, "window": window, "size": size}
    return inputs | ({"mask": batch["image_mask"]} if view.masked else {})


def example(batch: Batch, view: ViewFacts) -> dict[str, np.ndarray]:
    """Images as a server gets them, with the size of the original pictures."""
    pixels = pixels_of(batch)
    return {"image": pixels, "size": np.tile(np.array([view.height, view.width], np.int64), (len(pixels), 1))}


def signature(view: ViewFacts, detections: int) -> dict[str, list[dict[str, object]]]:
    """Inputs and outputs of the served model."""
    outputs: dict[str, tuple[str, list[int]]] = {
        "boxes": ("float32", [-1, detections, 4]),
        "scores": ("float32", [-1, detections]),
        "labels": ("int64", [-1, detections]),
        "class_names": ("str", [-1, detections]),
        "confidence": ("float32", [-1]),
    }
    return {
        "inputs": [
            {"name": "image", "dtype": "uint8", "shape": [-1, view.height, view.width, view.channels]},
            {"name": "size", "dtype": "int64", "shape": [-1, 2]},
        ],
        "outputs": [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape) in outputs.items()],
        "params": [],
    }
