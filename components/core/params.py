"""The structure of params.yaml: its blocks before they are parsed by the classes that read them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.core.references import Link, Ood
from components.core.strict import Name, SettingsError, Strict

UNHASHED = ("size", "nfiles")
StageKind = Literal[
    "code", "fetch", "augment", "wire", "link", "train", "detect", "export", "evaluate", "ood", "ood_table", "publish"
]  # fmt: skip


class DatasetSettings(Strict):
    """The common part of a dataset block; a source adds its own keys.

    ``path``: a DVC dependency: the user's folder, or ``built_in.txt`` for sources without one.
    """

    source: str
    path: str


class Pipeline(Strict):
    """``runs``: the default runs of ``make run``; ``remote``: the DVC remote by which clones share results, or none.

    ``stage_timeout``: seconds until a stage counts as hanging, ``stage_timeouts``: the same per kind of stage;
    ``retries``: number of retries after a transient failure (network, lock), the first after ``retry_delay`` seconds, with
    exponential backoff.
    """

    runs: tuple[Name, ...]
    stage_timeout: float = Field(default=86400.0, gt=0)
    stage_timeouts: dict[StageKind, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    retries: int = Field(default=4, ge=0, le=20)
    retry_delay: float = Field(default=10.0, gt=0, le=3600)
    remote: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class Run(Strict):
    """A run of params.yaml with unparsed blocks.

    ``seeds``: the run is repeated with each of them (``core/seeds.py``); ``search``: what ``python -m flows sweep`` tries.
    """

    moved: ClassVar[dict[str, str]] = {
        "detect": "it is a block of its own now, `detect: {<name>: {run: ..., view: ...}}`, and left out without detection"
    }

    recipe: str
    view: Name
    model: dict[str, Any]
    train: dict[str, Any]
    export: dict[str, Any]
    evaluate: dict[str, Any]
    promote: dict[str, Any]
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        default=(), description="repeat the run with each of these seeds, and summarise"
    )
    search: dict[str, Any] = Field(default_factory=dict, description="settings and values that `flows sweep` tries")


class Params(Strict):
    """The structure of params.yaml. The blocks from ``schedules`` on are parsed by ``flows.settings``."""

    root: str = Field(pattern=r"^[A-Za-z0-9_./-]+$")  # a part of dvc.yaml's commands
    seed: int = Field(ge=0, lt=2**31)
    pipeline: Pipeline
    datasets: dict[Name, dict[str, Any]]
    views: dict[Name, dict[str, Any]]
    runs: dict[Name, Run]
    links: dict[Name, Link] = Field(default_factory=dict)
    detect: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    ood: dict[Name, Ood] = Field(default_factory=dict)
    schedules: dict[str, Any] = Field(default_factory=dict)
    servers: dict[str, Any] = Field(default_factory=dict)
    notify: dict[str, Any] = Field(default_factory=dict)
    monitor: dict[str, Any] = Field(default_factory=dict)


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
