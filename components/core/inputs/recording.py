"""Hash a stage's inputs at its start, compare them at its end, and write the record.

    code = Code(ROOT / "components", lambda texts: edited_files(workspace, "train", "digits", texts))
    with recorded_inputs(workspace, "train@digits", code):
        ...                      # import the stage and run it, the writing of its outs included

The block must be the last act of the process: an edit after it is not detected here. It leaves an entry that contradicts its
record, which the next reader of the entry detects.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.dvc_lock import LOCK
from components.core.errors import Unavailable
from components.core.files import start_time, write_atomically
from components.core.inputs import files, lock
from components.core.inputs.code import Code, Sources, frozen
from components.core.inputs.declared import PARAMS, Declared, Unusual, chosen, declared, declared_by_dvc, parse_yaml, repository
from components.core.inputs.listings import keep
from components.core.inputs.record import CHANGED, changed_params, record_path, serialise
from components.core.runtime import require_code_at_start
from components.core.settings import Workspace

NAMED = 4  # changed inputs in a message
READS_FOLDERS = "fetch@"  # its inputs are a user's files, whose names are kept for the next plan
COPIES_CODE = ("export",)  # stages that also copy code files


class InputsChanged(Unavailable):
    """Inputs changed while a stage ran; it is not recorded and should be retried."""


class CodeChanged(ValueError):
    """The code differs from the stage's digest: stage ``code`` must run first, so a retry of this stage does not help."""


@dataclass(frozen=True)
class Inputs:
    """The inputs at the start of a stage. ``deps``: path -> DVC's hash, ``values``: file -> key -> parameter."""

    folder: Path
    stage: str
    text: str
    declared: Declared
    deps: dict[str, str]
    values: dict[str, dict[str, Any]]
    listings: dict[str, files.Listing] | None = field(default=None, repr=False)  # None: DVC listed the files itself

    @property
    def record(self) -> bytes:
        """Content of the record."""
        return serialise(self.deps, self.values)

    @property
    def digest(self) -> str:
        """SHA-256 of the record: of everything that the stage's result depends on, except the machine."""
        return hashlib.sha256(self.record).hexdigest()

    def require_unchanged(self, others: Sequence[str] = ()) -> None:
        """Raise InputsChanged if the inputs have changed since the start, or if there are ``others`` that have."""
        if changed := [*others, *self.changed()]:
            more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            raise InputsChanged(f"{self.stage} is not recorded, its {CHANGED}: {', '.join(changed[:NAMED])}{more}")

    def changed(self) -> list[str]:
        """Return the names of inputs that have changed since the start."""
        return [*self.changed_params(), *self.changed_deps()]

    def changed_params(self) -> list[str]:
        """Return the parameters whose value has changed."""
        try:
            return changed_params(self.values, _read_params(self.folder, self.declared, None))
        except (OSError, ValueError) as error:
            return [f"{PARAMS} ({' '.join(str(error).split())[:100]})"]

    def changed_deps(self) -> list[str]:
        """Return the data files that were written, added or removed."""
        if self.listings is None:
            now = _hashed_by_dvc(self.folder, self.stage)
            return [name for name in self.deps if now.get(name) != self.deps[name]]
        root = repository(self.folder)
        changes = {name: files.touched(self.listings[name], path, root) for name, path in self.declared.deps.items()}
        return [os.path.join(name, file).rstrip("/") for name, names in changes.items() for file in names]


@contextmanager
def recorded_inputs(workspace: Workspace, stage: str, code: Code | None = None) -> Iterator[Inputs]:
    """Record the inputs of the stage that runs in the block, if they are unchanged at its end.

    Inside the block each Workspace of this folder reads the hashed params.yaml, and ``code.package`` is imported as it was when
    its digest was compared, also in the processes that a training starts. CodeChanged (exit code 2) if the code differs from
    the digest; InputsChanged (exit code 75) if an input changed meanwhile, even if the block failed. No record is written
    after either, or after any other failure.
    """
    sources = Sources(code.package) if code else None
    if inputs_at_launch := _launcher_inputs(workspace, stage):  # one of several processes: the launcher records
        require_code_at_start()
        with frozen(sources) if sources else nullcontext():
            yield inputs_at_launch
        return
    inputs = take_inputs(workspace.folder, stage)
    vars(workspace).pop("params", None)  # may have been parsed from an older text
    _refuse_wrong_entries(inputs)
    with _shared_start(workspace, inputs, sources), frozen(sources) if sources else nullcontext():
        if code and sources and (edited := code.edited(sources.texts)):
            raise CodeChanged(
                f"the code of {stage} changed since its digest was written ({edited[0]}); start again with stage code"
            )
        try:
            yield inputs
        except SystemExit as end:
            if end.code:
                _require_unchanged(workspace, inputs, code, end)
            else:
                _record(workspace, inputs, code)
            raise
        except Exception as error:
            _require_unchanged(workspace, inputs, code, error)
            raise
        _record(workspace, inputs, code)


def take_inputs(folder: Path, stage: str) -> Inputs:
    """Hash the current inputs of a stage: read params.yaml once, and list files before hashing them."""
    text = (folder / PARAMS).read_text(encoding="utf-8")
    try:
        declaration = declared(folder, stage, parse_yaml(text))
        root = repository(folder)
        listings = {name: _list(stage, name, path, root) for name, path in declaration.deps.items()}
        digests = files.file_hashes(declaration.deps, listings, root)
        deps = {name: files.folder_hash(of_files) for name, of_files in digests.items()}
        if stage.startswith(READS_FOLDERS):
            for name, hashed in deps.items():
                keep(hashed, digests[name])
        return Inputs(folder, stage, text, declaration, deps, _read_params(folder, declaration, text), listings)
    except Unusual:
        declaration = declared_by_dvc(folder, stage)
        deps = _hashed_by_dvc(folder, stage)
        return Inputs(folder, stage, text, declaration, deps, _read_params(folder, declaration, text))


def _list(stage: str, name: str, path: Path, root: Path) -> files.Listing:
    try:
        return files.listing(path, root)
    except FileNotFoundError:
        raise ValueError(f"{name} does not exist; {stage} depends on it") from None


def _read_params(folder: Path, declaration: Declared, text: str | None) -> dict[str, dict[str, Any]]:
    """Read the declared parameters: file -> key -> value. ``text``: of params.yaml, which is read if None."""
    values = {}
    for file, keys in declaration.keys.items():
        source = text if text is not None and file == PARAMS else (folder / file).read_text(encoding="utf-8")
        values[file] = chosen(_parse(file, source), keys)
    return values


def _parse(file: str, text: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return parse_yaml(text)
    except YAMLError as error:
        raise ValueError(f"{file}: {error}") from None


def _hashed_by_dvc(folder: Path, stage: str) -> dict[str, str]:
    """Compute path -> hash by DVC."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo(str(repository(folder))) as repo:
        loaded = repo.stage.load_one(path=str(folder / "dvc.yaml"), name=stage)
        dependencies = [dep for dep in loaded.deps if not isinstance(dep, ParamsDependency)]
        return {dep.def_path: str(dep.get_hash().value) if dep.exists else "" for dep in dependencies}


def _refuse_wrong_entries(inputs: Inputs) -> None:
    """Raise InputsChanged if dvc.lock has wrong inputs for a stage that produced one of the inputs."""
    wrong = lock.wrong_makers(inputs.folder, list(inputs.deps))
    if wrong:
        lock.forget(inputs.folder, wrong)
        names = ", ".join(wrong)
        raise InputsChanged(f"{LOCK} had {names} with inputs that changed while it ran; the entry is removed, run it again")


def _record(workspace: Workspace, inputs: Inputs, code: Code | None) -> None:
    _require_unchanged(workspace, inputs, code)
    path = inputs.folder / record_path(inputs.stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, inputs.record)


def _require_unchanged(workspace: Workspace, inputs: Inputs, code: Code | None, cause: BaseException | None = None) -> None:
    """Raise InputsChanged if inputs or copied code have changed; delete checkpoints that may mix two states of the data."""
    kind, _, block = inputs.stage.partition("@")
    if kind == "train" and inputs.changed_deps():  # its checkpoints belong to no known data
        shutil.rmtree(workspace.checkpoints(block), ignore_errors=True)
    copied = code.edited(Sources(code.package).texts) if code and kind in COPIES_CODE else []
    try:
        inputs.require_unchanged(copied)
    except InputsChanged as error:
        raise error from cause


@contextmanager
def _shared_start(workspace: Workspace, inputs: Inputs, sources: Sources | None) -> Iterator[None]:
    """Publish the hashed params.yaml to this process and its children, in the file that ``settings.STARTED`` names."""
    path = settings.WORK / "inputs" / f"{inputs.stage}.{workspace.study or 'root'}.{os.getpid()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob("*.json"):  # left by killed stages
        if start_time(int(other.stem.rpartition(".")[2])) is None:
            other.unlink(missing_ok=True)
    content = {"folder": str(inputs.folder), "stage": inputs.stage, "text": inputs.text, "record": inputs.record.decode()}
    write_atomically(path, json.dumps({**content, "code": sources.states if sources else {}}).encode())
    os.environ[settings.STARTED] = str(path)
    try:
        yield
    finally:
        del os.environ[settings.STARTED]
        path.unlink(missing_ok=True)


def _launcher_inputs(workspace: Workspace, stage: str) -> Inputs | None:
    """Return the inputs of the launcher, if it started this process for a training; without listings, which it compares."""
    started = settings.read_started()
    if started is None or (started["folder"], started["stage"]) != (str(workspace.folder), stage):
        return None
    record = json.loads(started["record"])
    return Inputs(workspace.folder, stage, started["text"], Declared({}, {}), record["deps"], record["params"], {})
