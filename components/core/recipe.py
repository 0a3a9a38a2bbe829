"""The recipe: the smallest protocol that lets one loop, one exporter and one evaluator serve every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from components.core.batch import Batch, Stream, ViewFacts
from components.core.settings import RunSettings
from components.core.strict import Strict

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.detectors.shared.protocol import Head

Schedule = Literal["constant", "linear", "cosine", "constant_linear", "step"]  # of learning rates: stages/train/schedule.py


@dataclass(frozen=True)
class Graph:
    """One ONNX graph.

    ``module`` in eval mode; ``inputs`` turns a batch of the main view into the graph's inputs, first axis N, and is used for
    tracing and for the parity check on real validation images; ``bound`` is the largest absolute difference allowed between
    ONNX Runtime and torch, ``bounds`` the same for outputs that have one of their own.
    """

    module: nn.Module
    inputs: Callable[[Batch], dict[str, Tensor]]
    outputs: tuple[str, ...]
    bound: float = 1e-4
    bounds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Exportable:
    """What leaves training: graphs by name, facts and signature (JSON) for the served code, an example of its input.

    ``weights`` only where sampling needs torch. The served code is the family's
    ``served.py``: it travels in ``code/`` with every file that it imports, by relative imports.
    """

    graphs: dict[str, Graph]
    facts: dict[str, Any]
    signature: dict[str, Any]
    example: Callable[[Batch], dict[str, np.ndarray]]
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Detection:
    """What out-of-distribution scores are made of.

    ``network``, in eval mode: image [n, C, H, W] in [-1, 1] -> (logits [n, K], features [n, F]); ``head``: its last layer,
    logits = features W^T + b.
    """

    network: nn.Module
    head: Head


@dataclass(frozen=True)
class Metric:
    """A figure and the direction in which it is better."""

    value: float
    better: Literal["max", "min"]


@dataclass(frozen=True)
class Heatmap:
    """A matrix to be drawn: counts [R, C], ``classes`` names both axes."""

    matrix: np.ndarray
    classes: tuple[str, ...]
    rows: str
    columns: str


@dataclass(frozen=True)
class Report:
    """What an evaluation found: metrics by name, tables (rows of columns), pictures (uint8 [H, W, 3] or a Heatmap).

    ``items``: metric -> float [N], one value an image of the main view in the view's order, whose mean is the metric; a paired
    comparison of two models needs them. ``groups``: int64 [N], the class of each image; ``group_names``: its names.
    """

    metrics: dict[str, Metric]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: dict[str, np.ndarray | Heatmap] = field(default_factory=dict)
    items: dict[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()


class Served(Protocol):
    """The served code, loaded from an export folder. It may have more methods; its family's evaluation knows them."""

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]: ...


class Published(Protocol):
    """What can start from given weights: a network, or several that are published together."""

    def load_published(self, state: dict[str, Any]) -> list[str]:
        """Load tensors by name, in a published layout or in its own; return notes on what was not taken as it stands.

        ValueError lists what does not fit; the weights are then unchanged.
        """


class Module(Protocol):
    """What the stages use of ``nn.Module``, which every recipe is."""

    training: bool

    def to(self, *args: Any, **kwargs: Any) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...
    def eval(self) -> Any: ...
    def requires_grad_(self, requires_grad: bool = True) -> Any: ...
    def children(self) -> Iterator[nn.Module]: ...
    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...


class Recipe(Module, Protocol):
    """A family: networks, objective, optimizers.

    ``Train`` and ``Export``: settings classes of its parts of these blocks. ``Train`` is combined with the loop's settings and
    wins: a family redeclares ``schedule``, ``ema_decay`` or ``warmup`` with its paper's default.
    ``Roles``: stage -> the roles of links that it takes; links to views have any other role.
    ``averaged``: the networks whose moving average the loop keeps if ``train.ema_decay`` is set, and the exports use.
    ``published``: role of a train link to weights ("init", or "init_..." for a second one) -> what starts from them.
    ``prefers_fp32``: the precision that ``auto`` takes. ``detects``: it is a classifier and has ``detection``.
    ``takes_rectangles``: it takes views whose ``image_size`` is (height, width); without it ``image_size`` is always an int.

    A recipe may also have two class methods. ``check`` (settings, view, linked) raises ValueError("block.key: ...") before any
    work; ``linked``: stage -> role -> RunSettings of the run behind a link. ``build_network`` (settings, image_size, channels,
    classes) makes the network for the same check, if its constructor needs more than these facts.
    """

    Roles: ClassVar[dict[str, tuple[str, ...]]]
    Train: ClassVar[type[Strict]]
    Export: ClassVar[type[Strict]]
    detects: ClassVar[bool]
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    prefers_fp32: bool

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> Self:
        """The recipe at step 0. ``views``: "main" and the roles of links to views."""

    def streams(self) -> dict[str, Stream]:
        """role -> what the loop feeds to ``training_step`` under that role."""

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """Update the weights by ``optimize`` and return the scalars to log."""

    def exportable(self) -> Exportable:
        """What the export stage writes; called in eval mode with the final (averaged) weights."""


class Detecting(Recipe, Protocol):
    """A recipe with ``detects = True``."""

    def detection(self) -> Detection:
        """Network and last layer, with the final weights; called in eval mode."""
