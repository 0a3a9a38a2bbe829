"""``python dvc_entries.py <arguments of dvc>``: DVC, by which dvc.lock is read and written one entry at a time.

To run one stage DVC parses all of dvc.lock; to record it, it parses all of it again in the manner that keeps comments, empties
the file and writes all of it anew. With the 118 stages of this project that is six seconds of CPU a stage, in which a kill
leaves a file that is cut off. Here an entry is parsed when it is asked for, and a new one takes the place of the old one in the
text, which appears whole or not at all. Each entry is DVC's own dump: the bytes are those that DVC writes. What is not of the
form in which DVC writes it (comments, other indents) is left to DVC.

A program of its own, as ``leash.py``; private names of DVC 3.67.1 besides those of ``remote.py`` are used in this file alone.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.dvcfile import Lockfile
    from dvc.repo import Repo
    from dvc.repo.index import Index
    from dvc.stage import PipelineStage

HEAD = "schema: '2.0'\nstages:\n"
ENTRY = re.compile(r"^  ([A-Za-z][\w@.-]*):\n(?:(?:   .*)?\n)+", re.MULTILINE)  # DVC quotes no such name

_dvcs_own: dict[str, Callable[..., None]] = {}  # what ``install`` has put aside
_parameters: dict[tuple[str, int, int, int], Any] = {}


def split(text: str) -> dict[str, str] | None:
    """Stage -> its lines in the text of a dvc.lock, in order; None where that is not all of the text."""
    if not text:
        return {}
    entries = {found[1]: found[0] for found in ENTRY.finditer(text, len(HEAD))}
    return entries if text == join(entries) else None


def join(entries: Mapping[str, str]) -> str:
    """The text of a dvc.lock with these entries."""
    return HEAD + "".join(entries.values())


def loads(text: str) -> bool:
    """Whether DVC takes the text for a dvc.lock."""
    return _checked(text) is not None


def readable(text: str) -> dict[str, str]:
    """Stage -> its lines, of the entries that DVC takes by themselves, in a text that may be cut off or spoilt."""
    lines = text if text.endswith("\n") else f"{text}\n"
    return {found[1]: found[0] for found in ENTRY.finditer(lines) if loads(HEAD + found[0])}


def _checked(text: str) -> Any:
    """The content of a dvc.lock; None where DVC refuses it."""
    from dvc.dvcfile import Lockfile
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
    from dvc.utils.strictyaml import YAMLValidationError, validate

    try:
        content = parse_yaml(text, "dvc.lock")
        validate(content, Lockfile.SCHEMA)
    except (YAMLFileCorruptedError, YAMLValidationError):
        return None
    return content


def sort(path: Path, position: Mapping[str, int], folder: Path) -> None:
    """Put the entries into the order of ``position``, others last in the order they had. A file of another form stays."""
    text = path.read_text(encoding="utf-8")
    entries = split(text)
    if entries is not None:
        ordered = join({name: entries[name] for name in sorted(entries, key=lambda name: position.get(name, len(position)))})
        if ordered != text:
            replace(path, ordered, folder)


def replace(path: Path, text: str, folder: Path) -> None:
    """Let the text appear at ``path`` whole or not at all. It is written in ``folder`` first, on the same file system."""
    part = folder / f"{path.name}.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def unrecorded_index(repo: Repo, path: str) -> Index:
    """The stages of a dvc.yaml without what its dvc.lock says of them, which ``fill`` adds: the graph needs none of it."""
    from dvc.dvcfile import load_file
    from dvc.repo.index import Index

    file = load_file(repo, path)
    vars(file)["lockfile_contents"] = {}
    return Index(repo, stages=list(file.stages.values()))


def recorded(repo: Repo, path: str) -> Mapping[str, Any]:
    """Stage -> its entry in the dvc.lock beside the dvc.yaml at ``path``."""
    from dvc.dvcfile import load_file

    found: Mapping[str, Any] = load_file(repo, path)._lockfile.load().get("stages", {})
    return found


def fill(stage: PipelineStage, entry: dict[str, Any] | None) -> None:
    """Add what dvc.lock says of the stage."""
    from dvc.stage.loader import StageLoader

    if entry:
        stage.cmd_changed = entry.get("cmd") != stage.cmd
        StageLoader.fill_from_lock(stage, entry)


class Entries(Mapping[str, Any]):
    """Stage -> its entry, parsed and checked when it is asked for."""

    def __init__(self, lock: Lockfile, texts: dict[str, str]):
        self.lock, self.texts = lock, texts
        self.parsed: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.parsed:
            self.parsed[name] = self._parse(name, self.texts[name])
        return self.parsed[name]

    def _parse(self, name: str, text: str) -> Any:
        content = _checked(HEAD + text)
        if content is None:
            content, _ = _whole(self.lock)  # raises DVC's own error, with the line
        return content["stages"][name]

    def __contains__(self, name: object) -> bool:
        return name in self.texts

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


def install() -> None:
    """Let this process's DVC read and write dvc.lock by its entries, and parse a file of parameters once for all stages."""
    from dvc.dependency import param
    from dvc.dvcfile import Lockfile

    param.load_path = _load_parameters
    _dvcs_own.setdefault("dump_stages", Lockfile.dump_stages)
    Lockfile._load_yaml, Lockfile.dump_stages = _load, _dump


def _load_parameters(path: str, fs: Any) -> Any:
    """``load_path`` of one of DVC's files; who compares values with it changes none."""
    from dvc.utils.serialize import load_path

    state = os.stat(path)
    key = (path, state.st_mtime_ns, state.st_size, state.st_ino)
    if key not in _parameters:
        _parameters[key] = load_path(path, fs)
    return _parameters[key]


def _load(lock: Lockfile, **kwargs: Any) -> tuple[Any, str]:
    """``Lockfile._load_yaml``."""
    texts = None if kwargs else split(_text(lock))
    if not texts:
        return _whole(lock, **kwargs)
    return {"schema": "2.0", "stages": Entries(lock, texts)}, join(texts)


def _whole(lock: Lockfile, **kwargs: Any) -> tuple[Any, str]:
    from dvc.dvcfile import FileMixin

    found: tuple[Any, str] = FileMixin._load_yaml(lock, **kwargs)
    return found


def _dump(lock: Lockfile, stages: list[PipelineStage], **kwargs: Any) -> None:
    """``Lockfile.dump_stages``."""
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    before = _text(lock)
    texts = split(before)
    new = {stage.name: dumps_yaml({"stages": to_lockfile(stage, **kwargs)}).removeprefix("stages:\n") for stage in stages}
    after = join({**(texts or {}), **new})
    if texts is None or split(after) is None:
        _dvcs_own["dump_stages"](lock, stages, **kwargs)
    elif after != before:
        logging.getLogger("dvc").info("%s lock file '%s'", "Updating" if before else "Generating", lock.relpath)
        replace(Path(lock.path), after, Path(lock.repo.tmp_dir))
        lock.repo.scm_context.track_file(lock.relpath)


def _text(lock: Lockfile) -> str:
    path = Path(lock.path)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def main() -> int:
    """DVC's own command line."""
    from dvc.cli import main as dvc

    install()
    code: int = dvc(sys.argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
