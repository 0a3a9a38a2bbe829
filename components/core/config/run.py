"""The settings of a run, from its block in params.yaml: each part is parsed by the class of the code that reads it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from components.core import catalogue
from components.core.config.strict import SettingsError, Strict, collected, must_exist, parse, refuse

if TYPE_CHECKING:
    from components.core.config.params import Run

LOOP = "components.stages.train.settings:LoopSettings"  # defined with the code that reads it


@dataclass(frozen=True)
class ModelSettings:
    """The ``model`` block: the network's name in ``MODELS`` and its constructor's options."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run. ``train`` has the keys of the loop and of the recipe, the other blocks those of the recipe.

    ``Workspace.run`` returns settings whose blocks are parsed on first access: a stage imports no code for the blocks of other
    stages.
    """

    name: str
    recipe: str
    view: str
    model: ModelSettings
    train: Any
    export: Any
    evaluate: Any

    @classmethod
    def unparsed(cls, name: str, recipe: str, view: str, blocks: Mapping[str, Callable[[], Any]]) -> RunSettings:
        """Build settings with lazy blocks. ``blocks``: block -> function that parses it."""
        settings = object.__new__(cls)
        vars(settings).update(name=name, recipe=recipe, view=view, _blocks=blocks)
        return settings

    def parsed(self) -> RunSettings:
        """Parse every block and return the settings. SettingsError lists the faults of all blocks."""
        refuse(collected(*(partial(getattr, self, block) for block in vars(self).get("_blocks", {}))))
        return self

    def __getattr__(self, block: str) -> Any:
        blocks = vars(self).get("_blocks", {})
        if block not in blocks:
            raise AttributeError(block)
        vars(self)[block] = blocks[block]()
        return vars(self)[block]


def run_settings(name: str, run: Run) -> RunSettings:
    """Return the settings of a run whose blocks are parsed on first access. SettingsError for an unknown recipe."""
    key = f"runs.{name}"
    must_exist(run.recipe, catalogue.names("recipe"), f"{key}.recipe")

    def recipe() -> Any:
        return catalogue.load("recipe", run.recipe, f"{key}.recipe")

    def evaluation() -> Any:
        return catalogue.evaluation(run.recipe, f"{key}.recipe")

    blocks = {
        "model": lambda: parse_model(run.model, f"{key}.model"),
        "train": lambda: parse_train(recipe(), run.train, f"{key}.train"),
        "export": lambda: parse(recipe().Export, run.export, f"{key}.export"),
        "evaluate": lambda: parse(evaluation().Settings, run.evaluate, f"{key}.evaluate"),
    }
    return RunSettings.unparsed(name, run.recipe, run.view, blocks)


def parse_train(recipe: Any, block: dict[str, Any], key: str) -> Any:
    """Parse a ``train`` block by the keys of the recipe and of the loop."""
    train = parse(train_class(recipe), block, key)
    check_shares(train, key)
    return train


def train_class(recipe: Any) -> type[Strict]:
    """Return the class of a recipe's ``train`` block. Its own defaults take precedence over the loop's."""
    return create_model("Train", __base__=(recipe.Train, imported(LOOP)))


def check_shares(train: Any, key: str) -> None:
    """Check that the batch splits into equal shares; streams of other sizes are checked before the first step."""
    size = getattr(train, "batch_size", 0)
    if size == "auto":
        if train.processes > 1:
            raise SettingsError(f"{key}.batch_size: auto is not allowed with processes: {train.processes}; set a number")
        return
    if size % train.processes:
        fault = f"{key}.batch_size: {size} is not allowed: not a multiple of {key}.processes, {train.processes}"
        raise SettingsError(f"{fault}; the next is {size + -size % train.processes}")


def parse_model(block: dict[str, Any], key: str) -> ModelSettings:
    """Parse the ``model`` block by the constructor of the network that it names.

    A network's settings are the keyword-only parameters of its constructor with a default; facts about the data
    (``image_size``, ``channels``, ``num_classes``) have none and are not settings. The constructor raises ValueError for
    inconsistent values.
    """
    if "name" not in block:
        raise SettingsError(f"{key}.name: missing; the network is one of {', '.join(sorted(catalogue.names('network')))}")
    options = dict(block)
    name = str(options.pop("name"))
    cls = options_class(catalogue.load("network", name, f"{key}.name"))
    parsed = parse(cls, options, key)
    return ModelSettings(name=name, options={option: getattr(parsed, option) for option in cls.model_fields})


def options_class(network: Any) -> type[Strict]:
    """Return the settings class of a network's options."""
    fields = {
        parameter.name: (parameter.annotation, parameter.default)
        for parameter in inspect.signature(network, eval_str=True).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    cls: type[Strict] = create_model("Model", __base__=Strict, **fields)  # type: ignore[call-overload]
    return cls


def parse_by(place: str, block: dict[str, Any], key: str) -> Any:
    """Parse ``block`` by the class at ``place``, "module:name"."""
    return parse(imported(place), block, key)


def imported(place: str) -> Any:
    """Import and return the class at "module:name"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
