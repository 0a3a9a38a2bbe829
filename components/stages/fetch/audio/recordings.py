"""List recordings: ``[{train,validation,test}/]<speaker>/[<word>/]<file>``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.sound.files import SUFFIXES, unsupported
from components.stages.fetch.files.names import nearly_equal, same_looking, split_of
from components.stages.fetch.files.suffixes import MAX_BYTES
from components.stages.fetch.files.walk import Walk

FORM = "<path>/<speaker>/<file>, <path>/<speaker>/<word>/<file>, or either below {train,validation,test}/"


@dataclass(frozen=True)
class Recording:
    """A sound file. ``name``: its path below the dataset's; ``word``: the folder below the speaker's, None without one."""

    name: str
    path: Path
    speaker: str
    word: str | None


Recordings = dict[str, list[Recording]]  # split, or "all" -> recordings in byte order of their names


def list_recordings(walk: Walk, *, skip: bool, similar: bool) -> Recordings:
    """List the sound files below ``walk.root``; faults are added to ``walk.faults``, and raised.

    ``skip``: pass over other files instead of reporting them; ``similar``: accept speakers and words of similar names.
    """
    if not walk.root.is_dir():
        raise ValueError(f"{walk.root}: no such folder")
    folders = walk.folders(walk.root)
    named = {path: split for path in folders if (split := split_of(path.name)) and any(walk.folders(path))}
    if named and (rest := [path.name for path in folders if path not in named]):
        walk.faults.add(f"{walk.root}: {', '.join(rest)} beside folders of splits; {FORM}")
    tops = [(split, path) for path, split in named.items()] or [("all", walk.root)]
    found: Recordings = {}
    for split, top in tops:
        if split in found:
            walk.faults.add(f"{top}: a second folder for the {split} split")
        found[split] = [recording for speaker in walk.folders(top) for recording in _of_speaker(speaker, walk, skip=skip)]
        _report_stray(walk, top, skip=skip or bool(named))
    _check(found, walk, similar=similar)
    walk.faults.check()
    return found


def _of_speaker(folder: Path, walk: Walk, *, skip: bool) -> list[Recording]:
    recordings, faults = [], len(walk.faults.lines)
    for entry in walk.entries(folder):
        files = walk.entries(entry) if entry.is_dir() else [entry]
        word = entry.name if entry.is_dir() else None
        recordings += [
            Recording(path.relative_to(walk.root).as_posix(), path, folder.name, word)
            for path in files
            if _is_sound(path, walk, skip=skip)
        ]
    if not recordings and len(walk.faults.lines) == faults:
        walk.faults.add(f"{folder}: a speaker's folder without sound files (known suffixes: {' '.join(SUFFIXES)})")
    return recordings


def _is_sound(path: Path, walk: Walk, *, skip: bool) -> bool:
    """Return whether a path is a sound file that can be read here; if not, it becomes a fault, or is skipped and counted."""
    suffix = path.suffix.lower()
    if path.is_dir():
        walk.faults.add(f"{path}: a folder inside a word's folder; {FORM}")
    elif suffix not in SUFFIXES and skip:
        walk.skipped[suffix or "without suffix"] += 1
    elif suffix not in SUFFIXES:
        walk.faults.add(f"{path}: no sound file (by its suffix); other_files: skip passes over such files")
    elif reason := unsupported(suffix):
        walk.faults.add(f"{path}: {reason}")
    elif (size := walk.note(path).stat().st_size) > MAX_BYTES:
        walk.faults.add(f"{path}: {size:,} bytes; a sound file may have at most {MAX_BYTES:,}")
    else:
        return True
    return False


def _report_stray(walk: Walk, top: Path, *, skip: bool) -> None:
    """Sound files beside the speakers' folders have no speaker."""
    for path in walk.entries(top):
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            walk.faults.add(f"{path}: a sound file beside the speakers' folders; {FORM}")
        elif path.is_file():
            walk.skipped[path.suffix.lower() or "without suffix"] += 1


def _check(found: Recordings, walk: Walk, *, similar: bool) -> None:
    recordings = [recording for part in found.values() for recording in part]
    if walk.faults.lines:
        return
    for split, part in found.items():
        if not part:
            walk.faults.add(f"{walk.root}: no recordings" + (f" in the {split} split" if split != "all" else "") + f"; {FORM}")
    worded = [recording for recording in recordings if recording.word is not None]
    if worded and len(worded) < len(recordings):
        bare = next(recording for recording in recordings if recording.word is None)
        walk.faults.add(
            f"{walk.root}: {worded[0].name} lies in a word's folder and {bare.name} in none; all or no recordings do"
        )
    for names in ({recording.speaker for recording in recordings}, {recording.word or "" for recording in recordings}):
        for line in [*same_looking(sorted(names)), *([] if similar else nearly_equal(sorted(names)))]:
            walk.faults.add(f"{walk.root}: {line}")
