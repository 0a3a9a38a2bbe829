"""``python entries.py <arguments of dvc>``: DVC, reading and writing dvc.lock one entry at a time.

To run one stage DVC parses all of dvc.lock; to record it, it parses all of it again in the manner that keeps comments, empties
the file and writes all of it anew. With 118 stages that is six seconds of CPU per stage, in which a kill leaves a file that is
cut off. Here an entry is parsed when it is asked for, and a new one takes the place of the old one in the text, which appears
whole or not at all. Each entry is DVC's own dump: the bytes are those that DVC writes. What is not of the form in which DVC
writes it (comments, other indents) is left to DVC.

A program of its own, as ``process_guard.py``; private names of DVC 3.67.1 are used in this room alone.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

PROGRAM = Path(__file__).resolve()
if not __package__:  # started by its path, in the folder of any project
    sys.path.insert(0, str(PROGRAM.parents[2]))

from components.core.dvc_lock import HEAD, find_entries, join, split  # noqa: E402
from components.core.files import write_text  # noqa: E402

if TYPE_CHECKING:
    from dvc.dvcfile import Lockfile
    from dvc.stage import PipelineStage

_originals: dict[str, Callable[..., None]] = {}  # what ``install`` has replaced
_parameters: dict[tuple[str, int, int, int], Any] = {}


def loads(text: str) -> bool:
    """Whether DVC accepts the text as a dvc.lock."""
    return _checked(text) is not None


def readable(text: str) -> dict[str, str]:
    """Stage -> its lines, of the entries that DVC accepts, in a text that may be cut off or damaged."""
    return {name: lines for name, lines in find_entries(text).items() if loads(HEAD + lines)}


def _checked(text: str) -> Any:
    """The content of a dvc.lock; None if DVC refuses it."""
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
            write_lock(path, ordered, folder)


def write_lock(path: Path, text: str, folder: Path) -> None:
    """Write the text atomically, through a file in ``folder`` on the same file system. DVC's lock must be held."""
    write_text(path, text, folder / f"{path.name}.part")


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
    """Make DVC in this process read and write dvc.lock by entries, and parse a file of parameters once for all stages."""
    from dvc.dependency import param
    from dvc.dvcfile import Lockfile

    from flows.dvc import inputs

    inputs.install()
    param.load_path = _load_parameters
    _originals.setdefault("dump_stages", Lockfile.dump_stages)
    Lockfile._load_yaml, Lockfile.dump_stages = _load, _dump


def _load_parameters(path: str, fs: Any) -> Any:
    """DVC's ``load_path``, cached; who compares values with the result changes none."""
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
        _originals["dump_stages"](lock, stages, **kwargs)
    elif after != before:
        logging.getLogger("dvc").info("%s lock file '%s'", "Updating" if before else "Generating", lock.relpath)
        write_lock(Path(lock.path), after, Path(lock.repo.tmp_dir))
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
