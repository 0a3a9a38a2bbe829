"""The recipe protocol: the interface of every family to the training loop, the exporter and the evaluator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import Strict
from components.core.settings import RunSettings

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.detectors.shared.protocol import Head

if TYPE_CHECKING:
    BatchSize = int  # a recipe is trained with the number that "auto" stands for
else:
    BatchSize = Annotated[int, Field(ge=1)] | Literal["auto"]  # auto: as many images as fit in most of a GPU's memory

Direction = Literal["max", "min"]  # of improvement
Schedule = Literal["constant", "linear", "cosine", "constant_linear", "step"]  # of learning rates: stages/train/schedule.py


@dataclass(frozen=True)
class Graph:
    """One ONNX graph.

    ``module`` in eval mode; ``inputs`` turns a batch of the main view into the graph's inputs, first axis N, and is used for
    tracing and for the parity check on real validation images; ``bound`` is the largest difference allowed between ONNX
    Runtime and torch, as a share of an output's largest value if that is above 1; ``bounds``: absolute ones, of single outputs.
    """

    module: nn.Module
    inputs: Callable[[Batch], dict[str, Tensor]]
    outputs: tuple[str, ...]
    bound: float = 1e-4
    bounds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Exportable:
    """The content of an export: graphs by name, facts and signature (JSON) for the served code, an example of its input.

    ``weights``: only if sampling needs torch. The served code is the family's ``served.py``; it is copied to ``code/`` with
    every file that it imports, by relative imports.
    """

    graphs: dict[str, Graph]
    facts: dict[str, Any]
    signature: dict[str, Any]
    example: Callable[[Batch], dict[str, np.ndarray]]
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Detection:
    """The network and the last layer that out-of-distribution scores are computed from.

    ``network``, in eval mode: image [n, C, H, W] in [-1, 1] -> (logits [n, K], features [n, F]); ``head``: its last layer,
    logits = features W^T + b.
    """

    network: nn.Module
    head: Head


@dataclass(frozen=True)
class Metric:
    """A value and the direction of improvement."""

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
    """The result of an evaluation: metrics by name, tables (rows of columns), pictures (uint8 [H, W, 3] or a Heatmap).

    ``items``: metric -> float [N], one value per image of the main view in its order, whose mean is the metric; used in paired
    comparisons of two models. ``groups``: int64 [N], the class of each image; ``group_names``: the names of the classes.
    ``probabilities``: float32 [N, K] of a classifier, a column per name of ``group_names``; galleries and comparisons show what
    it gets wrong, and how sure it was.
    """

    metrics: dict[str, Metric]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: dict[str, np.ndarray | Heatmap] = field(default_factory=dict)
    items: dict[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None


class Served(Protocol):
    """The served code, loaded from an export folder. It may have more methods, for its family's evaluation."""

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]: ...


class Fitted(Protocol):
    """What became of a file's tensors: ``components.networks.published`` has the class."""

    @property
    def taken(self) -> int:
        """Number of tensors loaded as they stand in the file."""

    def lines(self, kind: Any = None) -> list[str]:
        """Return notes on all others, or those of one kind: "adapted", "fresh", "left_out", "kept"."""

    def without_fresh(self, names: Collection[str]) -> Self:
        """Drop the notes that the networks ``names`` start fresh."""


class Published(Protocol):
    """A network, or several published together, that can be initialised from given weights."""

    def load_published(self, state: dict[str, Any], names: Any = None) -> Fitted:
        """Load tensors by name, in a published layout or in its own; return what became of them.

        ``names``: the ``ClassNames`` of the file and of the run; layers with an output per class are loaded only if they agree.
        ValueError lists the tensors that do not fit; the weights are then unchanged.
        """


class Module(Protocol):
    """The part of the ``nn.Module`` interface that the stages use; every recipe is an ``nn.Module``."""

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

    ``Train`` and ``Export``: settings classes for its parts of these blocks. ``Train`` is combined with the loop's settings and
    takes precedence: a family redeclares ``schedule``, ``ema_decay`` or ``warmup`` with its paper's default.
    ``Train.named_if_set`` (optional): settings that the results name only if they are set.
    ``Roles``: stage -> the roles of links that it accepts; links to views have any other role.
    ``averaged``: the networks to average if ``train.ema_decay`` is set; exports then use the averages.
    ``published``: role of a train link to weights ("init", or "init_..." for a second one) -> the module to initialise.
    ``class_column`` (optional, "label"): the view's column whose classes the network's head is for; "" if it is none.
    ``prefers_fp32``: resolve precision ``auto`` to fp32. ``detects``: it is a classifier and has ``detection``.
    ``takes_rectangles``: it accepts views whose ``image_size`` is (height, width); otherwise ``image_size`` is an int.

    ``knows_names`` (optional): it has graphs "image" and "text", so that a ``detect`` block can name its classes.

    ``notes`` (optional): lines that the train stage prints before the training.
    ``weigh_classes`` (optional, called after ``build``): it receives a function, column -> training images of each class [K].

    A recipe may also have two class methods. ``check`` (settings, view, linked) raises ValueError("block.key: ...") before any
    work; ``linked``: stage -> role -> RunSettings of the linked run. ``build_network`` (settings, image_size, channels,
    classes) builds the network for the same check, if its constructor needs more than these facts.
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
        """Build the recipe at step 0. ``views``: "main" and the roles of links to views."""

    def streams(self) -> dict[str, Stream]:
        """Return role -> the stream whose batches ``training_step`` receives under that role."""

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """Update the weights by ``optimize`` and return the scalars to log."""

    def exportable(self) -> Exportable:
        """Return the content of the export; called in eval mode with the final (averaged) weights."""


class Detecting(Recipe, Protocol):
    """A recipe with ``detects = True``."""

    def detection(self) -> Detection:
        """Return the network and its last layer, with the final weights; called in eval mode."""


class Validated(Recipe, Protocol):
    """A recipe with a validation curve. It has one stream, or says by ``validation_streams`` which one ``validate`` reads.

    ``validation``: the figures and their directions; ``select: best`` follows the first one unless told otherwise.
    """

    validation: ClassVar[Mapping[str, Direction]]

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Return each figure of a batch of the validation split, one value per image [N]; the curve has their mean.

        Called in eval mode, without gradients, with the averaged weights, on one process. Random numbers come from torch's
        global generator, which is seeded by the batch.
        """
