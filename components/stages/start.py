"""Start a training from weights: a linked run's, or a file from elsewhere. What became of each file is recorded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from components.core.artifact import Artifact
from components.core.recipe import Fitted, Recipe
from components.core.weights.reading import Weights, without_prefixes
from components.networks.published import ClassNames

TWO_STARTS = "model.pretrained: true is not allowed with a link {}, which brings other weights; keep one of them"


@dataclass(frozen=True)
class Start:
    """What the weights for ``role`` became; ``file``, ``md5``: of the file; ``read``: notes on how it was read."""

    role: str
    file: str
    md5: str
    fitted: Fitted
    read: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return a line per tensor or layer that was not taken as it stands in the file."""
        return [f"{self.role}: {note}" for note in (*self.read, *self.fitted.lines())]

    def to_json(self) -> dict[str, Any]:
        """Return the record for settings.json: a number of tensors taken as they are, and sentences on all others."""
        kinds: dict[str, list[str]] = {kind: self.fitted.lines(kind) for kind in ("adapted", "fresh", "left_out", "kept")}
        facts = {"role": self.role, "file": self.file, "md5": self.md5}
        return facts | {"taken": self.fitted.taken, "read": list(self.read)} | kinds


def initialise(recipe: Recipe, links: dict[str, Artifact]) -> list[Start]:
    """Load the weights of the links ``init`` and ``init_...``; return what became of each file.

    A linked run of the same recipe has tensors of the same names: a module of ``published`` loads those below its own name. Any
    other file is passed to ``load_published``, without a prefix that all its names have. What one file lacks and a later one
    brings does not count as fresh.
    """
    published = recipe.published
    modules = {id(module): name for name, module in recipe.named_modules()}
    places = {role: modules.get(id(target), getattr(target, "place", "")) for role, target in published.items()}
    starts = [start for role in sorted(published) if (start := _pretrained(recipe, role, linked=role in links))]
    for role in sorted(links.keys() & published.keys()):
        try:
            starts.append(_start(recipe, role, links[role], places[role]))
        except ValueError as error:
            raise ValueError(f"link {role} ({links[role].path}): {error}") from None
    brought = {places[start.role] for start in starts}
    return [replace(start, fitted=start.fitted.without_fresh(brought)) for start in starts]


def _start(recipe: Recipe, role: str, link: Artifact, place: str) -> Start:
    """Load one file into ``recipe.published[role]``; ``place``: its name as a module of the recipe, "" if it is none."""
    target, weights = recipe.published[role], link.weights()
    own = {name.removeprefix(f"{place}."): tensor for name, tensor in weights.state.items() if name.startswith(f"{place}.")}
    names = target.state_dict() if isinstance(target, nn.Module) else ()
    state, removed = (own, []) if own else without_prefixes(weights.state, names)
    fitted = target.load_published(state, class_names(recipe, weights))
    return Start(role, link.weights_file.name, link.md5, fitted, (*weights.notes, *removed))


def _pretrained(recipe: Recipe, role: str, *, linked: bool) -> Start | None:
    """Load the weights that the network of ``role`` brings by itself, None if none. ValueError if a link brings others."""
    target: Any = recipe.published[role]
    if not getattr(target, "pretrained", False):
        return None
    if linked:
        raise ValueError(TWO_STARTS.format(role))
    state = target.pretrained_tensors()
    fitted = target.load_published(state, class_names(recipe, Weights(state)))
    return Start(role, target.variant, tensors_md5(state), fitted)


def tensors_md5(state: dict[str, Tensor]) -> str:
    """Compute the MD5 of tensors with their names, types and shapes."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(state):
        array = state[name].detach().contiguous().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def class_names(recipe: Recipe, weights: Weights) -> ClassNames | None:
    """Return the names of the file's and the run's classes; None for a recipe without classes of its own."""
    view, column = getattr(recipe, "view", None), getattr(recipe, "class_column", "label")
    own = view.classes.get(column) if view is not None and column else None
    return ClassNames(weights.classes.get(column), tuple(own)) if own else None
