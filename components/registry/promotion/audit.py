"""The audit of decisions: an entry each, a line in ``.work/audit.jsonl`` and a tag on the version that it was about."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from components.core import settings
from components.core.files import locked
from components.core.strict import SettingsError

Action = Literal["promoted", "refused", "approval requested", "approved", "rejected", "rolled back"]
MOVES = ("promoted", "approved", "rolled back")  # the actions that make the version the champion
COMMENT = 1000  # characters; the whole entry must fit into a tag of a registered model, which holds 5,000
ENTRY = 5000


def new_id() -> str:
    """What tells an entry from all others."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Entry:
    """Who decided what, when (UTC), why, on which figures. ``before``, ``after``: the champion's version.

    ``previous``: what the alias of this name shall be. ``expires``: of a request for approval; ``request``: the id of the
    request that was approved or rejected. ``data``: ``data_key`` of the scores.
    """

    action: Action
    name: str
    version: int
    by: str
    comment: str
    before: int | None
    after: int | None
    previous: int | None
    data: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    verdict: list[dict[str, Any]] = field(default_factory=list)
    expires: str | None = None
    request: str | None = None
    time: str = field(default_factory=lambda: now().isoformat())
    id: str = field(default_factory=new_id)

    def to_json(self) -> str:
        """One line; SettingsError for more than a tag can hold."""
        text = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)
        if len(self.comment) > COMMENT or len(text) > ENTRY:
            raise SettingsError(f"comment: {len(self.comment)} characters are too many; at most {COMMENT}")
        return text

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """ValueError for what is no entry."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no audit entry: {error}") from None

    @property
    def moves(self) -> bool:
        """Whether the version became the champion."""
        return self.action in MOVES

    @property
    def reason(self) -> str:
        """Of a refusal, in a line."""
        return "; ".join(f"{line['gate']}: {line['words']}" for line in self.verdict if not line["passed"])

    def expired(self) -> bool:
        """Whether a request for approval has run out."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now()


def now() -> datetime:
    """UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def expiry(hours: float) -> str:
    """``hours`` from now."""
    return (now() + timedelta(hours=hours)).isoformat()


def audit_file() -> Path:
    """A line each decision that was completed on this machine."""
    return settings.WORK / "audit.jsonl"


def append(entry: Entry) -> None:
    """Write the entry's line, unless it stands there, and force it to the disk.

    A last line that is not whole is of a process that was killed while writing; its entry is still in the journal.
    """
    path = audit_file()
    with locked(settings.WORK / "locks" / "audit"):
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        whole = sum(len(line) for line in lines if line.endswith(b"\n"))
        if entry.id in {known.id for known in _entries(lines)}:
            return
        with path.open("r+b" if path.is_file() else "w+b") as file:
            file.truncate(whole)
            file.seek(whole)
            file.write(entry.to_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def entries(name: str | None = None) -> list[Entry]:
    """What was decided on this machine (of one registered model), in order; a line that is no entry is passed over."""
    path = audit_file()
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return [entry for entry in _entries(lines) if name in (None, entry.name)]


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    for line in lines:
        try:
            yield Entry.from_json(line.decode())
        except ValueError:
            continue
