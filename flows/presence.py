"""Which process carries which flow run: a note that outlives a killed process, so that ``doctor`` can tell the server.

The server itself cannot tell: a run whose process was killed together with what watched it says RUNNING for ever.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from components.core import settings
from components.core.files import this_process, write_json
from flows.server import IS_TEMPORARY


@dataclass(frozen=True)
class Presence:
    """``process``: who carries the run; ``api``: the server that knows it, empty for a temporary one over the own database."""

    id: str
    flow: str
    name: str
    process: str
    api: str


@contextmanager
def present() -> Iterator[None]:
    """Inside a flow run: note its process below ``.work/flow-runs`` until the block ends. Outside of one nothing happens."""
    from prefect.runtime import flow_run

    if flow_run.id is None:
        yield
        return
    api = "" if IS_TEMPORARY in os.environ else os.environ.get("PREFECT_API_URL", "")
    note = folder() / str(flow_run.id)
    write_json(note, asdict(Presence(str(flow_run.id), str(flow_run.flow_name), str(flow_run.name), this_process(), api)))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def folder() -> Path:
    """Where the notes stand, a file a flow run, named by its id."""
    return settings.WORK / "flow-runs"


def read(note: Path) -> Presence | None:
    """The note's content, or None where it is not readable or gone by now."""
    try:
        return Presence(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
