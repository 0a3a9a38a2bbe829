"""Find the model that predicts: the run's champion, else its candidate, a version by number, or the local export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.core.config.strict import SettingsError, must_exist
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.record.published import database
from components.registry.tracking import connect, reachable
from components.serving.loading import load_served

Decode = Callable[[bytes], np.ndarray]  # bytes of a file -> uint8 [H, W, C]; ValueError for a broken one
Kind = Literal["classifier", "detector", "translator", "generator", "encoder"]
ALIASES = ("champion", "candidate")  # in the order of preference


@dataclass(frozen=True)
class Model:
    """A loaded model. ``name``: registered name; ``origin``: which version, in words; ``folder``: its export.

    ``decode``: its decoder of pictures; a generator needs none.
    """

    name: str
    origin: str
    folder: Path
    served: Any
    decode: Decode | None

    @property
    def signature(self) -> dict[str, Any]:
        """The content of ``signature.json``: inputs, outputs, params."""
        return read_signature(self.folder)

    @property
    def kind(self) -> Kind:
        """What the model does."""
        return kind_of(self.signature)

    def must_be(self, kind: Kind, command: str) -> None:
        """Raise SettingsError, which names the right command, unless the model is of this kind."""
        if self.kind != kind:
            article = "an" if self.kind == "encoder" else "a"
            fit = {
                "classifier": "`python -m flows predict RUN WHAT`",
                "detector": "`python -m flows predict RUN WHAT`",
                "translator": "`python -m flows predict RUN WHAT --domain D`",
                "generator": "`python -m flows sample RUN`",
                "encoder": "no command: a classification run starts from it by a link init; its server gives features",
            }[self.kind]
            raise SettingsError(f"{command}: {self.name} is {article} {self.kind}, which takes {fit}")


def read_signature(folder: Path) -> dict[str, Any]:
    """Read the signature of an export."""
    content: dict[str, Any] = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
    return content


def kind_of(signature: dict[str, Any]) -> Kind:
    """Return what a model does, by the names of its inputs and outputs."""
    if "domain" in names(signature["inputs"]):
        return "translator"
    if "features" in names(signature["outputs"]):
        return "encoder"
    if "boxes" in names(signature["outputs"]):
        return "detector"
    return "classifier" if "class_name" in names(signature["outputs"]) else "generator"


def names(entries: list[dict[str, Any]]) -> list[str]:
    """Return the names of the inputs, outputs or params of a signature."""
    return [entry["name"] for entry in entries]


def find_model(workspace: Workspace, run: str, version: int | None = None, *, local: bool = False) -> Model:
    """Load the version ``version``, else the champion, else the candidate; with ``local`` the export in outputs/.

    SettingsError, with the remedy, if there is none.
    """
    must_exist(run, workspace.params.every_run(), "RUN")
    name = workspace.registered_name(run)
    if local:
        return _loaded(workspace, run, _local_export(workspace, run), f"outputs/export/{run}")
    _must_be_published(name, run)
    with reachable():
        client = connect()
        number, origin = _version(client, name, run, version)
        folder = registry.export_folder(client, name, number)
    return _loaded(workspace, run, folder, origin, number)


def _local_export(workspace: Workspace, run: str) -> Path:
    folder = workspace.folder / "outputs" / "export" / run
    if not (folder / "served.py").is_file():
        raise SettingsError(f"--local: outputs/export/{run} is not here; `python -m flows run --runs {run}` makes it")
    return folder


def _must_be_published(name: str, run: str) -> None:
    """Refuse early if there is no local tracking database: a client would create an empty one."""
    file = database()
    if file is not None and not file.is_file():
        raise SettingsError(_missing(name, run))


def _missing(name: str, run: str) -> str:
    return (
        f"{name} has neither champion nor candidate: `python -m flows run --runs {run}` trains and registers one;"
        f" --local takes outputs/export/{run}"
    )


def _version(client: Any, name: str, run: str, version: int | None) -> tuple[int, str]:
    """Return the version's number and a text that says which one it is."""
    known = registry.aliases(client, name)
    if version is not None:
        there = [int(entry.version) for entry in registry.versions(client, name)]
        if version not in there:
            raise SettingsError(f"--version: {name} has no version {version}; there are: {_list(there) or 'none'}")
        titles = [alias for alias, number in known.items() if number == version]
        return version, f"version {version}" + (f", its {' and '.join(titles)}" if titles else "")
    for alias in ALIASES:
        if alias in known:
            return known[alias], f"version {known[alias]}, the {alias}"
    raise SettingsError(_missing(name, run))


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _loaded(workspace: Workspace, run: str, folder: Path, origin: str, number: int | None = None) -> Model:
    served = load_served(folder)
    decode: Decode | None = None
    if "preparation" in served.facts and hasattr(served, "decode"):
        decode = served.decode
    elif kind_of(read_signature(folder)) != "generator":
        decode = _decode_of_view(workspace, run, number, served.facts)
    return Model(workspace.registered_name(run), origin, folder, served, decode)


def _decode_of_view(workspace: Workspace, run: str, number: int | None, facts: dict[str, Any]) -> Decode:
    """Return the decoder of the run's view, for exports that do not ship one: by the version's lineage, else as it is today."""
    from components.registry.monitor.champion import preparation
    from components.registry.record.lineage import lineage
    from components.serving.decoding import decode_picture
    from components.stages.augment.policy.policies import pair

    entries = None
    if number is not None:
        with reachable():
            client = connect()
            entries = lineage(client, client.get_model_version(workspace.registered_name(run), str(number)))
    prepared, source = preparation(workspace, run, entries, facts)
    expected, made = (*pair(facts["image_size"]), facts["channels"]), (*prepared.image_size, prepared.channels)
    if expected != made:
        sizes = [" x ".join(map(str, shape)) for shape in (expected, made)]
        raise SettingsError(f"RUN: the model takes pictures of {sizes[0]}, and {source} makes {sizes[1]}; export {run} again")
    return lambda data: decode_picture(data, prepared)
