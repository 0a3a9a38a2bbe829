"""Settings of a ``detect`` block, and construction of its detectors."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from pydantic import Field, create_model

from components.contrastive.prompts import Prompts
from components.core.config.strict import Name, SettingsError, Strict, parse, resolve
from components.detectors import DETECTORS

BY_NAME = "mcm"  # the detector that needs classes known by their names


class Concepts(Prompts):
    """The classes of a run on pictures and texts, by their names."""

    column: str = Field(default="label", min_length=1, description="the view's column whose classes they are")


class DetectSettings(Strict):
    """A ``detect`` block: the detectors to fit on a run's training images, their evaluation, and the one to serve.

    ``view``: the run's own, repeated here for DVC's dependencies; ``serve``: the detector that a link of role ``detector`` adds
    to the export, null for none; ``detectors``: by name, null for all; ``options``: detector -> options of its constructor;
    ``tpr``: the share of the validation images that a threshold accepts; ``split``: the images of the run's own view in the
    table.
    """

    run: Name = Field(description="the run whose network they read")
    view: Name
    serve: str | None = None
    detectors: tuple[str, ...] | None = None
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tpr: float = Field(default=0.95, gt=0, le=1)
    split: Literal["train", "validation", "test"] = "test"
    batch_size: int = Field(default=256, ge=1, description="images that pass the network at once")
    concepts: Concepts | None = Field(default=None, description="classes and prompts, for a run on pictures and texts alone")

    def names(self) -> tuple[str, ...]:
        """Return the selected detectors in the order of the catalogue; of all, a classifier has not the one by names."""
        chosen = self.detectors
        if chosen is None:
            return tuple(name for name in DETECTORS if name != BY_NAME or self.concepts is not None)
        return tuple(name for name in DETECTORS if name in chosen)


def make_detectors(settings: DetectSettings, key: str) -> dict[str, Any]:
    """Build name -> unfitted detector. SettingsError names an unknown detector or option, and a value out of range."""
    for place, given in (("detectors", settings.detectors or ()), ("options", settings.options)):
        for name in given:
            if name not in DETECTORS:
                resolve(DETECTORS, name, f"{key}.{place}")
    return {name: make_detector(name, settings.options.get(name, {}), f"{key}.options.{name}") for name in settings.names()}


def make_detector(name: str, options: dict[str, Any], key: str) -> Any:
    """Build one detector. Its options are the keyword-only parameters of its constructor."""
    cls = resolve(DETECTORS, name, key)
    parameters = inspect.signature(cls, eval_str=True).parameters.values()
    fields = {parameter.name: (parameter.annotation, parameter.default) for parameter in parameters}
    options_class: type[Strict] = create_model("Options", __base__=Strict, **fields)  # type: ignore[call-overload]
    parsed = parse(options_class, options, key)
    try:
        return cls(**{field: getattr(parsed, field) for field in fields})
    except ValueError as error:
        raise SettingsError(f"{key}.{error}") from None


def check_kind(settings: DetectSettings, recipe: str, kind: Any, key: str) -> None:
    """Raise SettingsError unless the run, of the recipe class ``kind``, is a classifier or knows classes by their names."""
    by_name = getattr(kind, "knows_names", False)
    if not kind.detects and not by_name:
        raise SettingsError(f"{key}.run: detection needs a classifier, and a {recipe} run is none")
    if by_name and settings.concepts is None:
        raise SettingsError(
            f"{key}.concepts: missing: a {recipe} run knows classes by their names; give the column, and templates"
        )
    if by_name and settings.serve is not None:
        fault = f"the classes of a {recipe} run are named by each request, so that no threshold fits"
        raise SettingsError(f"{key}.serve: {settings.serve!r} is not allowed: {fault}; write null")
    if not by_name and settings.concepts is not None:
        raise SettingsError(f"{key}.concepts: not allowed: a {recipe} run does not know its classes by their names")
    if not by_name and BY_NAME in settings.names():
        raise SettingsError(
            f"{key}.detectors: {BY_NAME!r} is not allowed: a {recipe} run does not know its classes by their names"
        )


def check_servable(name: str, key: str) -> None:
    """Raise SettingsError for a detector that cannot be part of an exported graph."""
    if resolve(DETECTORS, name, key).needs_gradient:
        others = ", ".join(sorted(set(DETECTORS) - {name}))
        raise SettingsError(
            f"{key}: {name!r} is not allowed: it needs a gradient by the input image, which an exported graph has not; "
            f"allowed: {others}"
        )
