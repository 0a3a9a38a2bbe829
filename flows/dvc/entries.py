"""``python entries.py <arguments of dvc>``: DVC, writing dvc.lock one entry at a time and parsing params.yaml once.

Measured per stage, against bare DVC 3.67.1:

- Recording a stage parses all of dvc.lock in the manner that keeps comments, then writes all of it anew: 0.2-0.3 s with 36
  stages, 0.7 s with 121, 3 s with 501. It also empties the file first, so that a kill leaves it cut off. Here the new entry
  replaces the old one in the text, and the file is replaced atomically.
- The status of a workspace parses params.yaml for every stage: most of 39 s with 501 stages. Here it is parsed once.
- To run one stage, all of dvc.lock is parsed and validated: over 1 s of CPU with 1,001 stages. Here an entry is parsed when DVC
  asks for it.

Each new entry is DVC's own dump, so the bytes are those that DVC writes; a file in another form (comments, other indents) is
written by DVC itself. An alias in params.yaml is written out: DVC would write an anchor, which a second entry may have too.

A separate program, like ``process_guard.py``. Only this package uses private names of DVC 3.67.1.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

PROGRAM = Path(__file__).resolve()
if not __package__:  # started by its path, in the folder of any project
    sys.path.insert(0, str(PROGRAM.parents[2]))

from components.core.dvc_lock import ENTRY, HEAD, find_entries, join, parse_entry, split  # noqa: E402
from components.core.files import write_text  # noqa: E402

if TYPE_CHECKING:
    from dvc.dvcfile import Lockfile
    from dvc.stage import PipelineStage

ANCHOR = re.compile(r"[:-] &id\d+$", re.MULTILINE)

_originals: dict[str, Callable[..., Any]] = {}  # methods that ``install`` replaced
_parameters: dict[tuple[str, int, int, int], Any] = {}


def loads(text: str) -> bool:
    """Whether DVC accepts the text as a dvc.lock."""
    from dvc.dvcfile import Lockfile
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
    from dvc.utils.strictyaml import YAMLValidationError, validate

    try:
        validate(parse_yaml(text, "dvc.lock"), Lockfile.SCHEMA)
    except (YAMLFileCorruptedError, YAMLValidationError):
        return False
    return True


def readable(text: str) -> dict[str, str]:
    """Return stage -> its lines, of the entries that DVC accepts, in a text that may be damaged.

    Of a stage with two entries, as both sides of a conflict, none: nobody knows which one fits.
    """
    names = [match[1] for match in ENTRY.finditer(text)]
    return {name: lines for name, lines in find_entries(text).items() if names.count(name) == 1 and loads(HEAD + lines)}


def sort(path: Path, position: Mapping[str, int], folder: Path) -> None:
    """Sort the entries by ``position``, others last in their present order.

    A file in another format is left alone; there may be none yet, if the first stage failed.
    """
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    entries = split(text)
    if entries is not None:
        ordered = join({name: entries[name] for name in sorted(entries, key=lambda name: position.get(name, len(position)))})
        if ordered != text:
            write_lock(path, ordered, folder)


def write_lock(path: Path, text: str, folder: Path) -> None:
    """Write the text atomically, through a file in ``folder`` on the same file system. DVC's lock must be held."""
    write_text(path, text, folder / f"{path.name}.part")


def install() -> None:
    """Let DVC in this process write dvc.lock by entries, and parse a file of parameters once for all stages."""
    from dvc.dependency import param
    from dvc.dvcfile import Lockfile

    from flows.dvc import inputs, transfers

    inputs.install()
    transfers.install()
    param.load_path = _load_parameters
    _originals.setdefault("dump_stages", Lockfile.dump_stages)
    Lockfile.dump_stages = _dump
    _originals.setdefault("load", Lockfile._load)
    Lockfile._load = _load


class Entries(Mapping[str, Any]):
    """Stage -> its entry, parsed and validated as DVC does when it is asked for. ``texts``: stage -> its lines."""

    def __init__(self, path: str, texts: Mapping[str, str]) -> None:
        self._path, self._texts = path, texts
        self._parsed: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._parsed:
            from dvc.dvcfile import Lockfile
            from dvc.utils.serialize import parse_yaml

            content = parse_yaml(HEAD + self._texts[name], self._path)
            self._parsed[name] = Lockfile.validate(content, self._path)["stages"][name]
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _load(lock: Lockfile, **kwargs: Any) -> Any:
    """Replace ``Lockfile._load``: entries are parsed on demand, if the file in the workspace is in the form that DVC writes."""
    texts = split(_text(lock)) if not kwargs and lock.repo.fs.protocol == "local" else None
    if not texts:
        return _originals["load"](lock, **kwargs)
    lock._check_gitignored()
    return {"schema": "2.0", "stages": Entries(lock.path, texts)}, ""


def _load_parameters(path: str, fs: Any) -> Any:
    """Replace DVC's ``load_path`` by a cached one; DVC only compares values with the result."""
    from dvc.utils.serialize import load_path

    state = os.stat(path)
    key = (path, state.st_mtime_ns, state.st_size, state.st_ino)
    if key not in _parameters:
        _parameters[key] = load_path(path, fs)
    return _parameters[key]


def _dump(lock: Lockfile, stages: list[PipelineStage], **kwargs: Any) -> None:
    """Replace ``Lockfile.dump_stages``: write the entries of ``stages`` alone."""
    from dvc.stage.serialize import to_lockfile

    before = _text(lock)
    texts = split(before)
    old = {name: _without_anchors(name, text) for name, text in (texts or {}).items()}
    new = {stage.name: _dumped(to_lockfile(stage, **kwargs)) for stage in stages}
    after = join({**old, **new})
    if texts is None or split(after) is None:
        _originals["dump_stages"](lock, stages, **kwargs)
    elif after != before:
        logging.getLogger("dvc").info("%s lock file '%s'", "Updating" if before else "Generating", lock.relpath)
        write_lock(Path(lock.path), after, Path(lock.repo.tmp_dir))
        lock.repo.scm_context.track_file(lock.relpath)


def _dumped(entry: Mapping[str, Any]) -> str:
    """Return DVC's dump of {stage: its content}, in which no value refers to another."""
    from dvc.utils.serialize import dumps_yaml

    text: str = dumps_yaml({"stages": _unshared(entry)})
    return text.removeprefix("stages:\n")


def _without_anchors(name: str, text: str) -> str:
    """Return an entry's lines with its aliases written out; one that refers to another entry stays as it is."""
    from ruamel.yaml.error import YAMLError

    if not ANCHOR.search(text):
        return text
    try:
        return _dumped({name: parse_entry(text)})
    except YAMLError:
        return text


def _unshared(value: Any) -> Any:
    """Copy what is nested, each occurrence for itself: the dump marks a list that occurs twice with an anchor."""
    if isinstance(value, Mapping):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _text(lock: Lockfile) -> str:
    path = Path(lock.path)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def main() -> int:
    """Run DVC's command line; return its exit code."""
    from dvc.cli import main as dvc

    install()
    code: int = dvc(sys.argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
