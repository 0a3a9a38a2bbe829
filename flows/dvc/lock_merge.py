"""``python lock_merge.py BASE OURS THEIRS MARKER_SIZE``: Git's merge driver for dvc.lock, which merges stage by stage.

A stage that one side changed, added or removed is taken from that side. A stage that both sides changed differently is a
conflict: both versions of its whole entry are written between Git's markers, and the rest of the file is merged. The result is
written to OURS, with the line ends of OURS.

The stage ``code`` is always taken from OURS: its entry contains the hash of all code, so any two branches would conflict, and
DVC runs it again in a second. Stages that depend on it depend on the digests that it writes.

Exit codes: 0 merged; 3 conflict; 2 a file is not in DVC's format, and OURS is unchanged. Python itself fails with 1, so that
the driver's command line (``merge_driver.py``) never mistakes a failure for a conflict.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from components.core.dvc_lock import HEAD, split

MERGED, OTHER_FORM, CONFLICT = 0, 2, 3
EMPTY = "schema: '2.0'\n"  # a dvc.lock without stages: DVC refuses an empty `stages`
SOON_RUN_AGAIN = ("code",)
MARKER = 7  # characters, at least
REST = tuple(character * MARKER for character in "|=>")  # of the markers, after "<<<<<<<"
BLOCK = re.compile(rf"^<{{{MARKER},}} .*?^>{{{MARKER},}} .*?\n", re.MULTILINE | re.DOTALL)
NEITHER = "or remove both versions: DVC then restores the stage from its cache or runs it again"
NAME = re.compile(r"^  ([^\s#][^\n]*):$")


def merge(base: str, ours: str, theirs: str, marker: int = MARKER) -> tuple[str, list[str]] | None:
    """Return the merged text and the stages in conflict; None if one of the texts is not in DVC's format.

    Stages stay in the order of ``ours``; one that only ``theirs`` has follows its predecessor there. ``base`` may contain
    conflicts, as the merge of two common ancestors may: a stage in conflict counts as absent.
    """
    before, mine, other = (entries(text) for text in (BLOCK.sub("", _lf(base)), _lf(ours), _lf(theirs)))
    if before is None or mine is None or other is None:
        return None
    pieces, in_conflict = [], []
    for name in union(list(mine), list(other)):
        left, right = mine.get(name, ""), other.get(name, "")
        piece = merged_entry(name, before.get(name, ""), left, right)
        if piece is None:
            piece = f"{'<' * marker} ours\n{left}{'=' * marker}\n{right}{'>' * marker} theirs\n"
            in_conflict.append(name)
        pieces.append(piece)
    merged = HEAD + "".join(pieces) if any(pieces) else EMPTY
    return merged.replace("\n", "\r\n" if "\r\n" in ours else "\n"), in_conflict


def merged_entry(name: str, base: str, ours: str, theirs: str) -> str | None:
    """Return the merged entry, "" if it is removed; None if both sides changed it differently."""
    if theirs in (ours, base):
        return ours
    if ours == base:
        return theirs
    return ours or theirs if name in SOON_RUN_AGAIN else None


def entries(text: str) -> Mapping[str, str] | None:
    """Return stage -> its lines; None if the text is not in DVC's format."""
    return {} if text == EMPTY else split(text)


def union(first: list[str], second: list[str]) -> list[str]:
    """Return ``first`` with the further names of ``second``, each after its predecessor in ``second``."""
    names = list(first)
    place = 0
    for name in second:
        if name not in names:
            names.insert(place, name)
        place = names.index(name) + 1
    return names


def conflicts(text: str) -> list[str]:
    """Return the stages between conflict markers in a dvc.lock, whichever tool merged it.

    A marker that was left behind counts as well: the entry around it may be cut.
    """
    stages: dict[str, None] = {}
    inside, current = False, "its head"
    for line in text.splitlines():
        match = NAME.match(line)
        current = match[1] if match else current
        if line.startswith("<" * MARKER):
            inside = True
        elif not line.startswith(REST):
            if inside:
                stages.setdefault(current)
        elif not inside:
            stages.setdefault(current)
        elif line.startswith(">" * MARKER):
            inside = False
    return list(stages)


def conflict(path: Path) -> str | None:
    """Return a message if a merge left conflicts in the dvc.lock at ``path``, else None."""
    stages = conflicts(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else []
    if not stages:
        return None
    return f"{path}: merge conflict in {', '.join(stages)}; keep one version of each and remove the markers, {NEITHER}"


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n")


def main(base: str, ours: str, theirs: str, marker: str = str(MARKER)) -> int:
    """Merge the files; return the exit code."""
    before, mine, other = (Path(path).read_bytes().decode("utf-8", errors="surrogateescape") for path in (base, ours, theirs))
    result = merge(before, mine, other, int(marker))
    if result is None:
        return OTHER_FORM
    text, stages = result
    Path(ours).write_bytes(text.encode("utf-8", errors="surrogateescape"))
    if stages:
        print(f"dvc.lock: both sides changed {', '.join(stages)}", file=sys.stderr)
    return CONFLICT if stages else MERGED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
