"""Settings of a ``detect`` block, and construction of its detectors."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from pydantic import Field, create_model

from components.core.config.strict import Name, SettingsError, Strict, parse, resolve
from components.detectors import DETECTORS


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

    def names(self) -> tuple[str, ...]:
        """Return the selected detectors in the order of the catalogue."""
        return tuple(name for name in DETECTORS if self.detectors is None or name in self.detectors)


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


def check_servable(name: str, key: str) -> None:
    """Raise SettingsError for a detector that cannot be part of an exported graph."""
    if resolve(DETECTORS, name, key).needs_gradient:
        others = ", ".join(sorted(set(DETECTORS) - {name}))
        raise SettingsError(
            f"{key}: {name!r} is not allowed: it needs a gradient by the input image, which an exported graph has not; "
            f"allowed: {others}"
        )
