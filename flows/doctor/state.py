"""Files of the state folder that a killed process, or a full disk, has spoilt. All are made again when they are missed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.core import settings
from flows.doctor.finding import Finding
from flows.project import Project

JSON = ("published/*.json", "live/*.json", "latency/*.json", "up/*.json", "scores/**/*.json")


def broken_state(project: Project) -> Iterator[Finding]:
    """Notes that are not whole: of what was published, of the last live curve, of speed."""
    for pattern in JSON:
        for path in sorted(settings.WORK.glob(pattern)):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except ValueError as error:
                where = f"{path}: {error}"
                yield Finding("broken note", where, "removes it; it is written anew", partial(path.unlink, missing_ok=True))


def broken_checkpoints(project: Project) -> Iterator[Finding]:
    """Checkpoints that are not whole, by the check sums in them."""
    for path in sorted((settings.WORK / "checkpoints").glob("*/*/*.pt")):
        try:
            fault = _fault(path)
        except FileNotFoundError:  # its training goes on, and has removed it
            continue
        if fault:
            older = len(list(path.parent.glob("*.pt"))) - 1
            remedy = "removes it; the training goes on from the one before" if older else "removes it; the training starts anew"
            yield Finding("broken checkpoint", f"{path}: {fault}", remedy, partial(path.unlink, missing_ok=True))


def _fault(path: Path) -> str | None:
    """A torch file is a zip archive: what is wrong with it, without unpacking any object."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except zipfile.BadZipFile as error:
        return str(error)
    return f"{member} is damaged" if member else None
