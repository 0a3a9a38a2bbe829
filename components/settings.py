"""params.yaml -> frozen, strict settings.

The file is read as DVC reads it (YAML 1.2: ``1e-3`` is a number). Its shape is checked here; each block's class stands in the
file that reads the block and is imported only when that block is asked for, so that naming a run costs no torch import.
Every error names the key's full path, the value and what is allowed.

``python -m components.settings`` validates everything and prints the resolved runs.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

ROOT = Path(__file__).resolve().parent.parent  # where the code lies
WORK = Path(os.environ.get("DARKROOM_WORK") or ROOT / ".work").resolve()  # nobody's out: tracking database, checkpoints, locks
PARAMS = "params.yaml"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]  # stage names, file names, registered names


class SettingsError(ValueError):
    """A value in params.yaml that cannot be used: the message says where, what and what instead."""


class Strict(BaseModel):
    """Base of every settings class: unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Strict)
T = TypeVar("T")


class DatasetSettings(Strict):
    """What every dataset block has; a source adds its own keys.

    ``path`` is where the data come in and a DVC dependency: the user's folder, or the source's own file for the built-in ones.
    """

    source: str
    path: str


class Link(Strict):
    """One edge from an artifact to a run: DVC makes it a pointer file ``outputs/links/<run>/<stage>/<role>``."""

    run: Name
    stage: Literal["train", "evaluate"]
    role: Name
    artifact: str = Field(alias="from", min_length=1)


class Promote(Strict):
    """Gates of a promotion. No gate exists yet, so every key is refused."""


class Pipeline(Strict):
    """``runs``: what ``make run`` runs when none is named; ``stage_timeout``: seconds until a stage counts as hanging."""

    runs: tuple[Name, ...]
    stage_timeout: float = Field(default=86400.0, gt=0)


class Run(Strict):
    """A run as it stands in params.yaml; blocks are still plain mappings."""

    recipe: str
    view: Name
    model: dict[str, Any]
    train: dict[str, Any]
    export: dict[str, Any]
    evaluate: dict[str, Any]
    promote: Promote


class Params(Strict):
    """The shape of params.yaml."""

    root: str
    seed: int = Field(ge=0, lt=2**31)
    pipeline: Pipeline
    datasets: dict[Name, dict[str, Any]]
    views: dict[Name, dict[str, Any]]
    runs: dict[Name, Run]
    links: dict[Name, Link]


@dataclass(frozen=True)
class ModelSettings:
    """The ``model`` block: the network's name in ``MODELS`` and its constructor's options."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class RunSettings:
    """A run whose blocks are parsed: ``train`` holds the loop's keys and the recipe's, the others the recipe's alone."""

    name: str
    recipe: str
    view: str
    model: ModelSettings
    train: Any
    export: Any
    evaluate: Any
    promote: Promote


# ---------------------------------------------------------------------------------------------------------------- reading


def resolve(catalog: dict[str, str], name: str, key: str) -> Any:
    """The object behind ``catalog[name]`` ("module:Class"), imported now. ``key`` names the setting in the error."""
    if name not in catalog:
        raise SettingsError(f"{key}: unknown name {name!r}; {_choices(name, catalog)}")
    module, _, attribute = catalog[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def parse(cls: type[S], block: Any, key: str) -> S:
    """``block`` as ``cls``; SettingsError lists every fault with its full path below ``key``."""
    try:
        # Through JSON: strict mode then takes a YAML list for a tuple, and still refuses "3" for 3.
        return cls.model_validate_json(json.dumps(block))
    except TypeError as error:
        raise SettingsError(f"{key}: {error}") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(cls, fault, key) for fault in error.errors())) from None


def _explain(cls: type[BaseModel], fault: Any, key: str) -> str:
    location = [str(part) for part in fault["loc"] if part != "[key]"]
    path = ".".join([key, *location] if key else location)
    if fault["type"] == "extra_forbidden":
        allowed = _fields_at(cls, location[:-1])
        return f"{path}: unknown key (value {fault['input']!r}); {_choices(location[-1], allowed)}"
    if fault["type"] == "missing":
        return f"{path}: missing; {_field_hint(cls, location)}"
    return f"{path}: {fault['input']!r} is not allowed: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _fields_at(cls: Any, location: list[str]) -> list[str]:
    """The keys that the settings class at ``location`` below ``cls`` takes (its own, where the path leaves the classes)."""
    for part in location:
        field = getattr(cls, "model_fields", {}).get(part)
        for candidate in _classes(field.annotation) if field else []:
            cls = candidate
    return sorted(field.alias or name for name, field in cls.model_fields.items())


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]


def _field_hint(cls: type[BaseModel], location: list[str]) -> str:
    field = cls.model_fields.get(location[-1]) if len(location) == 1 else None
    return f"it takes {field.annotation}" if field and field.description is None else "it is required"


def _choices(name: str, allowed: Any) -> str:
    listed = ", ".join(sorted(allowed)) or "none"
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f"allowed: {listed}" + (f" (did you mean {near[0]!r}?)" if near else "")


def read_yaml(path: Path) -> Any:
    """The file as plain Python values, by YAML 1.2 as in DVC."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None


class Workspace:
    """A folder with a params.yaml: the root of the repository, or a study below ``experiments/``."""

    def __init__(self, folder: Path | str = "."):
        self.folder = Path(folder).resolve()

    @cached_property
    def params(self) -> Params:
        """params.yaml, its shape and its cross references checked; blocks are parsed by the methods below."""
        raw = read_yaml(self.folder / PARAMS)
        if not isinstance(raw, dict):
            raise SettingsError(f"{self.folder / PARAMS}: a mapping is expected, found {type(raw).__name__}")
        params = parse(Params, raw, "")
        _check_references(params)
        return params

    @property
    def study(self) -> str | None:
        """The study's name, or None at the root."""
        return None if self.folder == ROOT else self.folder.name

    def registered_name(self, run: str) -> str:
        """``<run>`` at the root, ``<study>.<run>`` in a study: unique in the registry and below ``.work/``."""
        return run if self.study is None else f"{self.study}.{run}"

    def checkpoints(self, run: str) -> Path:
        """Where the checkpoints of the run's training stand: outside DVC's outs, which DVC deletes before it runs a stage."""
        return WORK / "checkpoints" / f"train@{self.registered_name(run)}"

    def dataset(self, name: str) -> DatasetSettings:
        """The dataset's block as its source's settings class."""
        from components.fetch import SOURCES

        block = _named(self.params.datasets, name, "datasets")
        source = resolve(SOURCES, str(block.get("source")), f"datasets.{name}.source")
        settings: DatasetSettings = parse(source.Settings, block, f"datasets.{name}")
        path = (self.folder / settings.path).resolve()
        if not path.exists():
            raise SettingsError(f"datasets.{name}.path: {settings.path!r} does not exist in {self.folder}")
        if not getattr(source, "reads_path", False) and path != _source_code(source):
            own = os.path.relpath(_source_code(source), self.folder)
            fault = f"datasets.{name}.path: {settings.path!r} is not allowed"
            raise SettingsError(f"{fault}: the source {settings.source!r} comes from {own!r}")
        return settings

    def view(self, name: str) -> Any:
        """The view's block (``components.augment.policies.ViewSettings``)."""
        from components.augment.policies import ViewSettings

        return parse(ViewSettings, _named(self.params.views, name, "views"), f"views.{name}")

    def check_view(self, name: str) -> None:
        """Parse the view's block and build its augmentation policy, as the augment stage will."""
        from components.augment.policies import validate_policy

        validate_policy(name, self.view(name))

    def check_run(self, name: str) -> None:
        """Parse the run's blocks and build its network for the view's size and channels, without memory for weights."""
        run = self.run(name)
        build_without_memory(run.model, self.view(run.view), f"runs.{name}.model")

    def run(self, name: str) -> RunSettings:
        """The run with every block parsed by the class that reads it."""
        from components.recipes import RECIPES
        from components.train.loop import LoopSettings

        run = _named(self.params.runs, name, "runs")
        key = f"runs.{name}"
        recipe = resolve(RECIPES, run.recipe, f"{key}.recipe")
        train = create_model("Train", __base__=(LoopSettings, recipe.Train))
        return RunSettings(
            name=name,
            recipe=run.recipe,
            view=run.view,
            model=parse_model(run.model, f"{key}.model"),
            train=parse(train, run.train, f"{key}.train"),
            export=parse(recipe.Export, run.export, f"{key}.export"),
            evaluate=parse(recipe.Evaluate, run.evaluate, f"{key}.evaluate"),
            promote=run.promote,
        )

    def links(self, run: str, stage: str) -> dict[str, Path]:
        """role -> pointer file of the run's links at ``stage`` ("train" or "evaluate"), by the names in params.yaml."""
        found = {link.role: link for link in self.params.links.values() if (link.run, link.stage) == (run, stage)}
        return {role: self.folder / "outputs" / "links" / run / stage / role for role in sorted(found)}


def parse_model(block: dict[str, Any], key: str) -> ModelSettings:
    """The ``model`` block against the constructor of the network that it names.

    A network's settings are the keyword-only parameters of its constructor that have a default; what follows from the data
    (``image_size``, ``channels``, ``num_classes``) has none and is not a setting. The network raises ValueError for values
    that do not fit each other; that happens when it is built.
    """
    from components.models import MODELS

    options = dict(block)
    name = options.pop("name", None)
    network = resolve(MODELS, str(name), f"{key}.name")
    fields = {
        parameter.name: (parameter.annotation, parameter.default)
        for parameter in inspect.signature(network, eval_str=True).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    options_class: type[Strict] = create_model("Model", __base__=Strict, **fields)  # type: ignore[call-overload]
    parsed = parse(options_class, options, key)
    return ModelSettings(name=str(name), options={option: getattr(parsed, option) for option in fields})


def build_without_memory(model: ModelSettings, view: Any, key: str) -> None:
    """Build the network on torch's meta device, with two classes: SettingsError where its options do not fit each other."""
    import torch

    from components.models import MODELS

    network = resolve(MODELS, model.name, key)
    facts = {"image_size": view.size, "channels": view.channels, "num_classes": 2}
    known = {name: facts[name] for name in facts if name in inspect.signature(network).parameters}
    try:
        with torch.device("meta"):
            network(**known, **model.options)
    except ValueError as error:
        raise SettingsError(f"{key}.{error}") from None


def _source_code(source: Any) -> Path:
    """The file (or package) below components/fetch that a built-in source consists of: its dataset depends on it."""
    name = source.__module__.removeprefix("components.fetch.").split(".")[0]
    path = ROOT / "components" / "fetch" / name
    return path if path.is_dir() else path.with_suffix(".py")


def _named(blocks: dict[str, T], name: str, key: str) -> T:
    if name not in blocks:
        raise SettingsError(f"{key}: no block named {name!r}; {_choices(name, blocks)}")
    return blocks[name]


def _check_references(params: Params) -> None:
    """Names that point at other blocks point at blocks that exist, and no two links claim one pointer file."""
    for index, run in enumerate(params.pipeline.runs):
        _exists(run, params.runs, f"pipeline.runs.{index}")
    for name, view in params.views.items():
        _exists(str(view.get("dataset")), params.datasets, f"views.{name}.dataset")
    for name, block in params.runs.items():
        _exists(block.view, params.views, f"runs.{name}.view")
    seen: dict[tuple[str, str, str], str] = {}
    for name, link in params.links.items():
        _exists(link.run, params.runs, f"links.{name}.run")
        _exists_artifact(link.artifact, params, f"links.{name}.from")
        target = (link.run, link.stage, link.role)
        if target in seen:
            raise SettingsError(f"links.{name}: the role {link.role!r} of run {link.run!r} is taken by links.{seen[target]}")
        seen[target] = name


def _exists(name: str, blocks: Any, key: str) -> None:
    if name not in blocks:
        raise SettingsError(f"{key}: unknown name {name!r}; {_choices(name, blocks)}")


def _exists_artifact(path: str, params: Params, key: str) -> None:
    """``outputs/<kind>/<name>`` must name a block; any other path is the user's file and DVC's to find."""
    match = re.fullmatch(r"outputs/([^/]+)/([^/]+)", path)
    if match is None:
        return
    kinds: dict[str, Any] = {"views": params.views, "train": params.runs, "export": params.runs}
    _exists(match[1], kinds, f"{key} (outputs/<kind>)")
    _exists(match[2], kinds[match[1]], key)


# --------------------------------------------------------------------------------------------------------------- command


def describe(workspace: Workspace) -> str:
    """Every block of the workspace, parsed, as YAML-like text: what the stages will really read."""
    params = workspace.params
    lines = [f"datasets.{name}: {_flat(workspace.dataset(name))}" for name in params.datasets]
    for name in params.views:
        workspace.check_view(name)
        lines.append(f"views.{name}: {_flat(workspace.view(name))}")
    for name in params.runs:
        workspace.check_run(name)
        run = workspace.run(name)
        lines.append(f"runs.{name}: recipe={run.recipe} view={run.view}")
        lines.append(f"  model: name={run.model.name} " + " ".join(f"{k}={v}" for k, v in run.model.options.items()))
        lines += [f"  {block}: {_flat(getattr(run, block))}" for block in ("train", "export", "evaluate")]
    return "\n".join(lines)


def _flat(settings: Strict) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.model_dump().items())


if __name__ == "__main__":
    try:
        print(describe(Workspace()))
    except SettingsError as error:
        print(f"{PARAMS}: {error}", file=sys.stderr)
        sys.exit(2)
