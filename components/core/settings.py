"""Parse params.yaml to frozen, strict settings.

The file is parsed as in DVC (YAML 1.2: ``1e-3`` is a number). Its structure is checked here; each block's class is defined in
the module that reads the block and imported on first access, so that loading a run does not import torch.
Every error names the key's full path, the value and what is allowed.

``python -m components check`` validates everything and prints the resolved runs.
"""

from __future__ import annotations

import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core import catalogue
from components.core.config.params import DatasetSettings, Params, read_params
from components.core.config.references import Ood
from components.core.config.run import ModelSettings as ModelSettings  # noqa: PLC0414
from components.core.config.run import RunSettings as RunSettings  # noqa: PLC0414
from components.core.config.run import parse_by, run_settings
from components.core.config.run import parse_model as parse_model  # noqa: PLC0414
from components.core.config.strict import SettingsError, collected, named, parse, read_yaml, refuse

if TYPE_CHECKING:
    from components.registry.promotion.gates import Gates
    from components.stages.detect.settings import DetectSettings

ROOT = Path(__file__).resolve().parents[2]  # of the repository


def work_folder(root: Path) -> Path:
    """Return the folder of all state outside DVC: tracking database, checkpoints, locks.

    ``dvc queue`` runs an experiment in a temporary copy, ``.dvc/tmp/exps/<copy>``, and removes it; its state is its clone's.
    """
    folders = (folder for folder in root.parents if folder.parts[-3:] == (".dvc", "tmp", "exps"))
    clone = next((folder.parents[2] for folder in folders), root)
    return clone / ".work"


WORK = Path(os.environ.get("DARKROOM_WORK") or work_folder(ROOT)).resolve()
PARAMS = "params.yaml"
STARTED = "DARKROOM_INPUTS"  # environment variable: the file in which ``core.inputs`` stored a stage's inputs at its start
BUILT_IN = ROOT / "components" / "stages" / "fetch" / "built_in.txt"  # the path of data that a source brings itself
# Classes that are defined with the code that reads their blocks.
VIEW = "components.stages.augment.policy.policies:ViewSettings"
DETECT = "components.stages.detect.settings:DetectSettings"
GATES = "components.registry.promotion.gates:Gates"


class Workspace:
    """A folder with a params.yaml: the root of the repository, or a study below ``experiments/``."""

    def __init__(self, folder: Path | str = "."):
        self.folder = Path(folder).resolve()

    @cached_property
    def params(self) -> Params:
        """Parse params.yaml and check its structure and cross references; the methods below parse its blocks.

        Blocks with faults are left out, and noted in ``Params.faults``: they stop only what needs them. Within a stage this is
        the text at the start of the stage, whose values are recorded as its inputs.
        """
        path = self.folder / PARAMS
        params = read_params(read_yaml(path, held_params(self.folder)), str(path))
        refuse(collected(lambda: self._check_root(params.root), self._check_study))
        return params

    def block(self, kind: str, name: str) -> Any:
        """Return the block ``<kind>.<name>``. SettingsError if there is none, or with its faults and those of what it needs."""
        self.params.require(f"{kind}.{name}")
        return named(getattr(self.params, kind), name, kind)

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
        block = self.block("datasets", name)
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
        return parse_by(VIEW, self.block("views", name), f"views.{name}")

    def gates(self, run: str) -> Gates:
        """Parse the run's ``promote`` block."""
        gates: Gates = parse_by(GATES, self.block("runs", run).promote, f"runs.{run}.promote")
        return gates

    def run(self, name: str) -> RunSettings:
        """Return the run's settings; each block is parsed on first access."""
        return run_settings(name, self.block("runs", name))

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
        settings: DetectSettings = parse_by(DETECT, self.block("detect", name), f"detect.{name}")
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
