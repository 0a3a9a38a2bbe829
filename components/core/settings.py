"""Parse params.yaml to frozen, strict settings.

The file is parsed as in DVC (YAML 1.2: ``1e-3`` is a number). Its structure is checked here; each block's class is defined in
the module that reads the block and imported on first access, so that loading a run does not import torch.
Every error names the key's full path, the value and what is allowed.

``python -m components check`` validates everything and prints the resolved runs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from components.core import catalogue
from components.core.params import DatasetSettings, Params, refuse_unhashed
from components.core.references import Ood, check_references
from components.core.strict import SettingsError, Strict, must_exist, named, parse, read_yaml

if TYPE_CHECKING:
    from components.registry.promotion.gates import Gates
    from components.stages.detect.settings import DetectSettings

ROOT = Path(__file__).resolve().parents[2]  # of the repository
WORK = Path(os.environ.get("DARKROOM_WORK") or ROOT / ".work").resolve()  # outside DVC: tracking database, checkpoints, locks
PARAMS = "params.yaml"
STARTED = "DARKROOM_INPUTS"  # environment variable: the file in which ``core.inputs`` stored a stage's inputs at its start
BUILT_IN = ROOT / "components" / "stages" / "fetch" / "built_in.txt"  # the path of data that a source brings itself
# Classes that are defined with the code that reads their blocks.
VIEW = "components.stages.augment.policy.policies:ViewSettings"
LOOP = "components.stages.train.settings:LoopSettings"
DETECT = "components.stages.detect.settings:DetectSettings"
GATES = "components.registry.promotion.gates:Gates"


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
        """Parse every block and return the settings. SettingsError for the first fault."""
        for block in vars(self).get("_blocks", {}):
            getattr(self, block)
        return self

    def __getattr__(self, block: str) -> Any:
        blocks = vars(self).get("_blocks", {})
        if block not in blocks:
            raise AttributeError(block)
        vars(self)[block] = blocks[block]()
        return vars(self)[block]


class Workspace:
    """A folder with a params.yaml: the root of the repository, or a study below ``experiments/``."""

    def __init__(self, folder: Path | str = "."):
        self.folder = Path(folder).resolve()

    @cached_property
    def params(self) -> Params:
        """Parse params.yaml and check its structure and cross references; the methods below parse its blocks.

        Within a stage this is the text at the start of the stage, whose values are recorded as its inputs.
        """
        raw = read_yaml(self.folder / PARAMS, held_params(self.folder))
        if not isinstance(raw, dict):
            raise SettingsError(f"{self.folder / PARAMS}: a mapping is expected, found {type(raw).__name__}")
        refuse_unhashed(raw, "")
        params = parse(Params, raw, "")
        self._check_root(params.root)
        self._check_study()
        check_references(params)
        return params

    def _check_root(self, root: str) -> None:
        """Check that ``root`` is the path from this folder to the repository, where DVC's commands find the code."""
        inside = self.folder == ROOT or ROOT in self.folder.parents
        if inside and (self.folder / root).resolve() != ROOT:
            raise SettingsError(f"root: {root!r} is not allowed: the code lies in {os.path.relpath(ROOT, self.folder)!r}")

    def _check_study(self) -> None:
        """Check the folder's name, which becomes a part of registered names, of MLflow's queries and of file names."""
        if self.study is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", self.study):
            raise SettingsError(f"{self.folder}: a study's folder is named with letters, digits, '_', '-' and '.', up to 100")

    @property
    def study(self) -> str | None:
        """Name of the study, or None at the root."""
        return None if self.folder == ROOT else self.folder.name

    def registered_name(self, run: str) -> str:
        """Return ``<run>`` at the root, ``<study>.<run>`` in a study: unique in the registry and below ``.work/``."""
        return run if self.study is None else f"{self.study}.{run}"

    def checkpoints(self, run: str) -> Path:
        """Return the folder of the run's checkpoints, outside DVC's outs, which DVC deletes before it runs a stage."""
        return WORK / "checkpoints" / f"train@{self.registered_name(run)}"

    def dataset(self, name: str) -> DatasetSettings:
        """Parse the dataset's block by its source's settings class."""
        block = named(self.params.datasets, name, "datasets")
        source = catalogue.load("source", str(block.get("source")), f"datasets.{name}.source")
        settings: DatasetSettings = parse(source.Settings, block, f"datasets.{name}")
        path = (self.folder / settings.path).resolve()
        if settings.path.startswith("~"):
            whole = str(Path(settings.path).expanduser())
            raise SettingsError(f"datasets.{name}.path: {settings.path!r} is not allowed: DVC knows no ~; write {whole!r}")
        if not path.exists():
            raise SettingsError(f"datasets.{name}.path: {settings.path!r} does not exist in {self.folder}")
        if not getattr(source, "reads_path", False) and path != BUILT_IN:
            own = os.path.relpath(BUILT_IN, self.folder)
            fault = f"datasets.{name}.path: {settings.path!r} is not allowed"
            raise SettingsError(f"{fault}: the source {settings.source!r} brings its own data, which is written {own!r}")
        return settings

    def view(self, name: str) -> Any:
        """Parse the view's block (``components.stages.augment.policy.policies.ViewSettings``)."""
        return self._parsed(VIEW, named(self.params.views, name, "views"), f"views.{name}")

    def gates(self, run: str) -> Gates:
        """Parse the run's ``promote`` block."""
        gates: Gates = self._parsed(GATES, named(self.params.runs, run, "runs").promote, f"runs.{run}.promote")
        return gates

    def run(self, name: str) -> RunSettings:
        """Return the run's settings; each block is parsed on first access."""
        run, key = named(self.params.runs, name, "runs"), f"runs.{name}"
        must_exist(run.recipe, catalogue.names("recipe"), f"{key}.recipe")

        def recipe() -> Any:
            return catalogue.load("recipe", run.recipe, f"{key}.recipe")

        def train() -> Any:
            # The family first: its defaults take precedence over the loop's.
            cls = create_model("Train", __base__=(recipe().Train, _imported(LOOP)))
            train = parse(cls, run.train, f"{key}.train")
            _check_shares(train, f"{key}.train")
            return train

        blocks = {
            "model": lambda: parse_model(run.model, f"{key}.model"),
            "train": train,
            "export": lambda: parse(recipe().Export, run.export, f"{key}.export"),
            "evaluate": lambda: parse(
                catalogue.evaluation(run.recipe, f"{key}.recipe").Settings, run.evaluate, f"{key}.evaluate"
            ),
        }
        return RunSettings.unparsed(name, run.recipe, run.view, blocks)

    def _parsed(self, place: str, block: dict[str, Any], key: str) -> Any:
        """Parse ``block`` by the class at ``place``, "module:name"."""
        return parse(_imported(place), block, key)

    def links(self, run: str, stage: str) -> dict[str, Path]:
        """Map each role to its pointer file, for the run's links at ``stage`` (train, export or evaluate)."""
        roles = {link.role: link for link in self.params.links.values() if (link.run, link.stage) == (run, stage)}
        return {role: self.folder / "outputs" / "links" / run / stage / role for role in sorted(roles)}

    def linked_runs(self, run: str, stage: str) -> dict[str, RunSettings]:
        """Map each role to the settings of the linked run, for links to weights or exports."""
        links = [link for link in self.params.links.values() if (link.run, link.stage) == (run, stage)]
        paths = {link.role: link.artifact.split("/") for link in links}
        return {
            role: self.run(path[2]) for role, path in paths.items() if path[0] == "outputs" and path[1] in ("train", "export")
        }

    def detection(self, name: str) -> DetectSettings:
        """Parse the block ``detect.<name>``."""
        settings: DetectSettings = self._parsed(DETECT, named(self.params.detect, name, "detect"), f"detect.{name}")
        return settings

    def detection_of(self, run: str) -> str | None:
        """Return the name of the run's ``detect`` block; None for a run without detection."""
        return next((name for name, block in self.params.detect.items() if block["run"] == run), None)

    def ood(self, name: str) -> dict[str, Ood]:
        """Map each view to its entry of ``ood``, for the block ``detect.<name>``."""
        entries = {entry.view: entry for entry in self.params.ood.values() if entry.detect == name}
        return {view: entries[view] for view in sorted(entries)}


def held_params(folder: Path) -> str | None:
    """Return the text of params.yaml at the start of this process's stage (or its parent's); None outside a stage.

    Its values are recorded as the stage's inputs, even if the file changes while the stage runs.
    """
    started = read_started()
    return str(started["text"]) if started and started["folder"] == str(folder) else None


def read_started() -> dict[str, Any] | None:
    """Read what this process's stage (or its parent's) stored at its start; None outside a stage."""
    try:
        content: dict[str, Any] = json.loads(Path(os.environ[STARTED]).read_text(encoding="utf-8"))
    except (KeyError, FileNotFoundError):
        return None
    return content


def _check_shares(train: Any, key: str) -> None:
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
    options = dict(block)
    name = options.pop("name", None)
    network = catalogue.load("network", str(name), f"{key}.name")
    fields = {
        parameter.name: (parameter.annotation, parameter.default)
        for parameter in inspect.signature(network, eval_str=True).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    options_class: type[Strict] = create_model("Model", __base__=Strict, **fields)  # type: ignore[call-overload]
    parsed = parse(options_class, options, key)
    return ModelSettings(name=str(name), options={option: getattr(parsed, option) for option in fields})


def _imported(place: str) -> Any:
    """Import and return the class at "module:name"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
