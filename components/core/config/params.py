"""The structure of params.yaml: its blocks before they are parsed by the classes that read them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from components.core.config.needs import Faults, needed_blocks
from components.core.config.references import Link, Ood, check_references
from components.core.config.strict import NAME, Name, SettingsError, Strict, collected, parse, refuse, shown
from components.core.config.wording import NAME_RULE, in_words

UNHASHED = ("size", "nfiles")
StageKind = Literal[
    "code", "fetch", "augment", "wire", "link", "train", "detect", "export", "evaluate", "ood", "ood_table", "publish"
]  # fmt: skip


class DatasetSettings(Strict):
    """The common part of a dataset block; a source adds its own keys."""

    source: str = Field(description="what reads or draws the files, by name")
    path: str = Field(
        description="the user's folder or file, from the folder of params.yaml; built_in.txt for a source with data of its own"
    )
    licence: str | None = Field(
        default=None, min_length=1, max_length=200, description="licence and origin of the pictures, as the report prints it"
    )


class Pipeline(Strict):
    """The block ``pipeline``: the default runs, and how long and how often a stage is tried."""

    runs: tuple[Name, ...] | None = Field(default=None, description="what `make run` runs; null: every run of the file")
    stage_timeout: float = Field(default=86400.0, gt=0, description="seconds until a stage counts as hanging")
    stage_timeouts: dict[StageKind, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="the same per kind of stage, in seconds"
    )
    retries: int = Field(default=4, ge=0, le=20, description="number of retries after a transient failure (network, lock)")
    retry_delay: float = Field(
        default=10.0, gt=0, le=3600, description="seconds before the first retry; each further one waits twice as long"
    )
    remote: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the DVC remote by which clones share results"
    )


class Run(Strict):
    """A run of params.yaml with unparsed blocks.

    ``seeds``: the run is repeated with each of them (``config/seeds.py``); ``search``: what ``python -m flows sweep`` tries.
    """

    moved: ClassVar[dict[str, str]] = {
        "detect": "it is a block of its own now, `detect: {<name>: {run: ..., view: ...}}`, and left out without detection"
    }

    recipe: str = Field(description="the family: what is trained, and how it is measured")
    view: Name = Field(description="the block of `views` to train on")
    model: dict[str, Any] = Field(description="the network's name and its options")
    train: dict[str, Any] = Field(description="settings of the training loop and of the recipe")
    export: dict[str, Any] = Field(default_factory=dict, description="settings of the recipe's export")
    evaluate: dict[str, Any] = Field(default_factory=dict, description="settings of the recipe's evaluation")
    promote: dict[str, Any] = Field(default_factory=dict, description="gates that a candidate must pass")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        default=(), description="repeat the run with each of these seeds, and summarise"
    )
    search: dict[str, Any] = Field(default_factory=dict, description="settings and values that `flows sweep` tries")


class Params(Strict):
    """The structure of params.yaml. The blocks from ``schedules`` on are parsed by ``flows.settings``.

    ``read_params`` leaves out blocks with faults, and notes the faults.
    """

    # A part of dvc.yaml's commands.
    root: str = Field(pattern=r"^[A-Za-z0-9_./-]+$", description="path from this folder to the code")
    seed: int = Field(ge=0, lt=2**31, description="of drawn datasets and of splits; a run has its own in `train`")
    pipeline: Pipeline = Field(default=Pipeline(), description="which runs, and how their stages are repeated")
    datasets: dict[Name, dict[str, Any]] = Field(description="raw files, by name")
    views: dict[Name, dict[str, Any]] = Field(description="datasets prepared for training, by name")
    runs: dict[Name, Run] = Field(description="recipes with numbers, by name")
    links: dict[Name, Link] = Field(default_factory=dict, description="what a run takes from other runs or files, by name")
    detect: dict[Name, dict[str, Any]] = Field(default_factory=dict, description="detectors of a run, by name")
    ood: dict[Name, Ood] = Field(default_factory=dict, description="views that a run was not made for, by name")
    schedules: dict[str, Any] = Field(default_factory=dict, description="when `make up` runs what")
    servers: dict[str, Any] = Field(default_factory=dict, description="what `make up` starts")
    notify: dict[str, Any] = Field(default_factory=dict, description="who is told what")
    monitor: dict[str, Any] = Field(default_factory=dict, description="drift monitors, by run")

    _faults: Faults = PrivateAttr(default_factory=dict)
    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def faults(self) -> Faults:
        """Block ("runs.digits") -> its faults. A block that cannot be used only because it needs another one has none."""
        return self._faults

    def every_run(self) -> tuple[str, ...]:
        """Return the names of all runs in the order of the file, of those with faults too."""
        return tuple(self._raw.get("runs", self.runs))

    def default_runs(self) -> tuple[str, ...]:
        """Return ``pipeline.runs``, or every run if it does not stand there. SettingsError for an unknown run."""
        self.require("pipeline")
        return self.every_run() if self.pipeline.runs is None else self.pipeline.runs

    def needed(self, runs: Iterable[str]) -> list[str]:
        """Return the blocks that the runs need, their detectors and out-of-distribution views included."""
        return needed_blocks(self._raw, [f"runs.{run}" for run in runs])

    def faults_of(self, runs: Iterable[str]) -> list[str]:
        """Return the faults of everything that the runs need."""
        return [line for block in self.needed(runs) for line in self._faults.get(block, ())]

    def unwritten(self, run: str) -> list[str]:
        """Return a fault per block of the run that has a default, but must stand in the file: DVC reads the file itself."""
        block = self._raw.get("runs", {}).get(run, {})
        hint = "DVC needs the key: write {}, or let `python -m flows plan` write it"
        return [f"runs.{run}.{key}: missing; {hint}" for key in WRITTEN if key not in block]

    def require(self, block: str) -> None:
        """Raise SettingsError with the faults of a block ("views.digits") and of what it needs, if it cannot be used."""
        if block in self._faults:
            refuse(line for needed in needed_blocks(self._raw, [block]) for line in self._faults.get(needed, ()))


WRITTEN = ("export", "evaluate")  # blocks of a run that dvc.yaml names, and that may be empty
KINDS: dict[str, type[Strict] | None] = {
    "datasets": None,
    "views": None,
    "runs": Run,
    "links": Link,
    "detect": None,
    "ood": Ood,
}


def read_params(raw: Any, file: str) -> Params:
    """Parse the content of params.yaml. Faults within its blocks are noted in ``Params.faults``; SettingsError for others."""
    if not isinstance(raw, dict):
        raise SettingsError(f"{file}: a mapping is expected, found {in_words(type(raw))}")
    outer = {kind: {} if isinstance(block, dict) and kind in KINDS else block for kind, block in raw.items()}
    refuse(collected(lambda: refuse_unhashed(outer, ""), lambda: parse(Params, outer, "")))
    faults: Faults = {}
    blocks = {kind: _blocks(kind, cls, raw.get(kind, {}), faults) for kind, cls in KINDS.items()}
    params = parse(Params, outer, "").model_copy(update=blocks)
    params._raw, params._faults = raw, faults
    check_references(params, raw, faults)
    for kind, name in (fault.split(".", 1) for fault in faults if "." in fault):
        getattr(params, kind).pop(name, None)
    return params


def _blocks(kind: str, cls: type[Strict] | None, raw: dict[Any, Any], faults: Faults) -> dict[str, Any]:
    """Parse the blocks of one kind by their class, if it is known here; note the faults of the others."""
    parsed: dict[str, Any] = {}
    for name, block in raw.items():
        try:
            parsed[name] = _block(f"{kind}.{name}", name, block, cls)
        except SettingsError as error:
            faults[f"{kind}.{name}"] = str(error).splitlines()
    return parsed


def _block(key: str, name: Any, block: Any, cls: type[Strict] | None) -> Any:
    """Parse one block; SettingsError lists all its faults."""
    if not (isinstance(name, str) and re.fullmatch(NAME, name)):
        raise SettingsError(f"{key}: {name!r} is not allowed: {NAME_RULE}")
    if not isinstance(block, dict):
        raise SettingsError(f"{key}: {shown(block)} is not allowed: a block of keys is expected")
    results: list[Any] = [block]
    refuse(collected(lambda: refuse_unhashed(block, key), lambda: results.append(parse(cls, block, key)) if cls else None))
    return results[-1]


def refuse_unhashed(block: Any, path: str) -> None:
    """Raise SettingsError for a key that DVC's run cache does not hash, at any depth (dvc/stage/cache.py of 3.67.1).

    Two values of such a key would share one cache entry: after a change DVC would restore the results of the old value.
    """
    for key, value in block.items() if isinstance(block, dict) else enumerate(block if isinstance(block, list) else ()):
        here = f"{path}.{key}".lstrip(".")
        if key in UNHASHED:
            hint = "a view's and a glyph's is image_size, and a transform's is the view's when it is left out"
            raise SettingsError(f"{here}: a key of this name is not allowed: DVC's run cache passes over it; {hint}")
        refuse_unhashed(value, here)
