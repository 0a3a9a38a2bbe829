"""Fit a file's tensors to a network: what is taken, adapted, left out or fresh. A model file knows its reference's names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

SHOWN = 8  # names in a message
Kind = Literal["adapted", "fresh", "left_out", "kept"]


@dataclass(frozen=True)
class ClassNames:
    """Names of classes in the order of a network's outputs: ``file``: the file's, None if it has none; ``own``: the view's."""

    file: tuple[str, ...] | None
    own: tuple[str, ...]

    def disagree(self) -> bool:
        """Return whether the file names other classes, or the same ones in another order."""
        return self.file is not None and self.file != self.own


@dataclass(frozen=True)
class Note:
    """What was done with the tensor or layer ``name`` of a file, and why."""

    kind: Kind
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True)
class Fitted:
    """The result of loading a file. ``taken``: number of tensors loaded as they stand in the file; ``notes``: on all others."""

    taken: int
    notes: tuple[Note, ...] = ()

    def lines(self, kind: Kind | None = None) -> list[str]:
        """Return the notes as text, all or those of one kind."""
        return [str(note) for note in self.notes if kind in (None, note.kind)]

    def without_fresh(self, names: Collection[str]) -> Self:
        """Drop the notes that the networks ``names`` start fresh: another file brings them."""
        return replace(self, notes=tuple(note for note in self.notes if note.kind != "fresh" or note.name not in names))


class Fit:
    """A file's tensors on their way into ``model``: change ``state`` by the methods below, then ``load``.

    ``own``: the model's tensors; ``names``: of the classes, None if the caller does not compare them.
    """

    def __init__(self, model: nn.Module, state: Mapping[str, Tensor], names: ClassNames | None = None):
        self.model, self.state, self.names = model, dict(state), names
        self.own: dict[str, Tensor] = model.state_dict()
        self.notes: list[Note] = []
        self.changed: set[str] = set()

    def replace(self, key: str, tensor: Tensor, kind: Kind, text: str) -> None:
        """Replace one tensor of the file."""
        self.state[key] = tensor
        self.changed.add(key)
        self.notes.append(Note(kind, key, text))

    def start_fresh(self, name: str, why: str, keys: Iterable[str] | None = None) -> None:
        """Keep the model's own tensors for the layer ``name``, or for ``keys``, which it stands for."""
        wanted = list(below(name, {**self.own, **self.state}) if keys is None else keys)
        self.drop(key for key in wanted if key in self.state)
        fresh = {key: self.own[key] for key in wanted if key in self.own}
        self.state |= fresh
        self.changed |= set(fresh)
        self.notes = [note for note in self.notes if note.name not in wanted]
        self.notes.append(Note("fresh", name, f"{why}: starts fresh"))

    def leave_out(self, name: str, keys: Iterable[str], why: str) -> None:
        """Leave the tensors ``keys`` of the file out, if there are any; ``name`` stands for them in the note."""
        if dropped := [key for key in keys if key in self.state]:
            self.drop(dropped)
            self.notes.append(Note("left_out", name, f"{why}: left out"))

    def drop(self, keys: Iterable[str]) -> None:
        """Remove tensors of the file without a note."""
        for key in list(keys):
            del self.state[key]

    @classmethod
    def of_parts(cls, model: nn.Module, parts: Mapping[str, Fit]) -> Fit:
        """Join the fits of networks that are modules of ``model``, by their names in it."""
        fit = cls(model, {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.state.items()})
        fit.changed = {f"{name}.{key}" for name, part in parts.items() for key in part.changed}
        fit.notes = [Note(note.kind, f"{name}.{note.name}", note.text) for name, part in parts.items() for note in part.notes]
        return fit

    def fit_classes(self, name: str, found: int, expected: int, *, what: str = "classes", none: str = "no head") -> None:
        """Keep the layer ``name``, with an output or row per class, only if the file's classes are this run's."""
        if difference := self.other_classes(name, found, expected, what=what, none=none):
            self.start_fresh(name, difference)

    def other_classes(self, name: str, found: int, expected: int, *, what: str, none: str) -> str:
        """Return how the file's classes differ from this run's; "" if they do not, with a note if the file does not name them.

        ``found`` and ``expected``: numbers of the file's and the model's classes; ``none``: said of a file without any.
        """
        if found != expected:
            return f"the file has {f'{found} {what}' if found else none}, this view {expected}"
        if self.names is not None and self.names.disagree():
            return f"the file's {what} are {listed(self.names.file or ())}, this view's {listed(self.names.own)}"
        if self.names is not None and self.names.file is None:
            self.notes.append(Note("kept", name, f"{found} {what}, kept; the file does not name them"))
        return ""

    def fit_channels(self, key: str) -> None:
        """Fit the first convolution ``key`` [out, C, h, w] to grey or RGB images: grey pictures give the same features.

        RGB -> grey sums the channels; grey -> RGB repeats them, divided by 3.
        """
        kernel, own = self.state.get(key), self.own[key]
        if kernel is None or kernel.dim() != 4 or (kernel.shape[1], own.shape[1]) not in ((3, 1), (1, 3)):
            return
        if own.shape[1] == 1:
            self.replace(key, kernel.sum(1, keepdim=True), "adapted", "the file is for RGB, this view is grey: channels summed")
        else:
            grey = kernel.repeat(1, 3, 1, 1) / 3
            self.replace(key, grey, "adapted", "the file is for grey images, this view is RGB: repeated, divided by 3")

    def load(self) -> Fitted:
        """Load all of ``state``. ValueError lists what does not fit, before a weight changes."""
        load_fitting(self.model, self.state)
        return Fitted(len(self.state.keys() - self.changed), tuple(self.notes))


def fit_classifier(model: nn.Module, state: Mapping[str, Tensor], names: ClassNames | None, first: str) -> Fit:
    """Begin to fit a classifier with a linear layer ``head`` and a first convolution ``first``."""
    fit = Fit(model, state, names)
    found, expected = (tensors["head.bias"].numel() if "head.bias" in tensors else 0 for tensors in (fit.state, fit.own))
    fit.fit_classes("head", found, expected)
    fit.fit_channels(first)
    return fit


def below(name: str, keys: Iterable[str]) -> list[str]:
    """Return the keys of the layer ``name``: itself, and all that begin with it and a dot."""
    return [key for key in keys if key == name or key.startswith(f"{name}.")]


def listed(names: Iterable[str]) -> str:
    """Join names, at most 8 of them."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)


def load_fitting(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load all of ``state``; ValueError lists the names and shapes that do not fit, 8 of each kind, before a weight changes."""
    own = model.state_dict()
    wrong = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "left over": sorted(state.keys() - own.keys()),
        "of another shape": [f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}" for key in wrong],
    }
    told = [f"{len(keys)} {kind}: {listed(keys)}" for kind, keys in faults.items() if keys]
    if told:
        raise ValueError(f"the published weights do not fit {type(model).__name__}: " + "; ".join(told))
    model.load_state_dict(state)


def taken_whole(model: nn.Module, state: Mapping[str, Tensor]) -> Fitted:
    """Load ``state``, which must fit as it is."""
    load_fitting(model, state)
    return Fitted(len(state))


def with_counters(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` with batch norm's counters where the file has none: files of PyTorch before 0.4.1, or Paddle's."""
    counters = {key: torch.zeros_like(value) for key, value in own.items() if key.endswith(".num_batches_tracked")}
    present = {key: value for key, value in counters.items() if key.replace("num_batches_tracked", "running_mean") in state}
    return {**present, **state}
