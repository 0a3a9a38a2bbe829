"""Database of scored images, by content: each is scored once per champion and belongs to at most one report.

One row per image, which waits until it is part of a report. One transaction adds a report and marks its images; a report folder
that is not in the database was left by a killed process and is written again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

FORM = 1  # version of the tables; later ones are refused
TABLES = f"""
BEGIN;
CREATE TABLE images (
    digest BLOB PRIMARY KEY, path BLOB NOT NULL, stamp TEXT NOT NULL, model TEXT NOT NULL,
    fault TEXT, score REAL, rejected INTEGER, class_name TEXT, probability REAL, report INTEGER
) WITHOUT ROWID;
CREATE INDEX places ON images (path);
CREATE INDEX waiting ON images (model) WHERE report IS NULL AND fault IS NULL;
CREATE TABLE reports (number INTEGER PRIMARY KEY, model TEXT NOT NULL, time TEXT NOT NULL);
PRAGMA user_version = {FORM};
COMMIT;
"""
COLUMNS = "digest, path, stamp, model, fault, score, rejected, class_name, probability"
WAITING = "report IS NULL AND fault IS NULL AND model = ?"
OUTDATED = "report IS NULL AND fault IS NULL AND model != ?"


@dataclass(frozen=True)
class Image:
    """A scored image. ``digest``: SHA-256 of the file; ``stamp``: see ``incoming``; ``model``: ``Champion.model``.

    Either ``fault`` says why it is no image, or the other fields are the champion's outputs.
    """

    digest: bytes
    path: bytes
    stamp: str
    model: str
    fault: str | None = None
    score: float | None = None
    rejected: bool | None = None
    class_name: str | None = None
    probability: float | None = None


class ScoreDatabase:
    """Database in the file ``path``, created if missing. One process at a time: hold a lock. ``model``: today's champion.

    Changes become durable with ``commit``.
    """

    def __init__(self, path: Path, model: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.model = model
        self._tables = sqlite3.connect(path)
        try:
            form = self._one("PRAGMA user_version")
            if form == 0:
                self._tables.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: not readable ({error}); move it away to begin anew: all images are then new") from None
        if form not in (0, FORM):
            raise ValueError(f"{path}: written by a later version of this program (form {form}, known is {FORM})")

    def close(self) -> None:
        """Close the database; uncommitted changes are lost."""
        self._tables.close()

    def commit(self) -> None:
        """Commit the changes."""
        self._tables.commit()

    def at(self, path: bytes, stamp: str) -> Image | None:
        """Look up the file by path and stamp; None if it must be scored by today's champion."""
        return self._image("path = ? AND stamp = ?", path, stamp)

    def of(self, digest: bytes) -> Image | None:
        """Look up the content; None if it must be scored by today's champion."""
        return self._image("digest = ?", digest)

    def add(self, images: Sequence[Image]) -> None:
        """Upsert: rescoring overwrites images that are in no report yet."""
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
        upsert = f"INSERT INTO images ({COLUMNS}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {changed} WHERE report IS NULL"  # noqa: S608
        self._tables.executemany(upsert, [astuple(image) for image in images])

    def move(self, digest: bytes, path: bytes, stamp: str) -> None:
        """Update path and stamp of a content that was found elsewhere."""
        self._tables.execute("UPDATE images SET path = ?, stamp = ? WHERE digest = ?", (path, stamp, digest))

    def outdated(self) -> list[bytes]:
        """Return the paths of waiting images scored by a former champion."""
        rows = self._tables.execute(f"SELECT path FROM images WHERE {OUTDATED}", (self.model,))  # noqa: S608
        return [path for (path,) in rows]

    def forget_outdated(self) -> int:
        """Delete what is left of ``outdated``, whose files are gone or changed; return the number."""
        cursor = self._tables.execute(f"DELETE FROM images WHERE {OUTDATED}", (self.model,))  # noqa: S608
        return cursor.rowcount

    def scores(self) -> np.ndarray:
        """Return the scores of the waiting images, float64 [n]."""
        rows = self._tables.execute(f"SELECT score FROM images WHERE {WAITING}", (self.model,))  # noqa: S608
        return np.array([score for (score,) in rows], dtype=np.float64)

    def strangest(self, limit: int = -1) -> Iterator[Image]:
        """Return the waiting images, lowest score first."""
        order = f"SELECT {COLUMNS} FROM images WHERE {WAITING} ORDER BY score, digest LIMIT ?"  # noqa: S608
        return (Image(*row) for row in self._tables.execute(order, (self.model, limit)))

    def last_report(self) -> int:
        """Return the number of the last report, 0 if there is none."""
        return int(self._one("SELECT coalesce(max(number), 0) FROM reports"))

    def judged(self, number: int, time: str) -> None:
        """Add a report with all waiting images, in one transaction."""
        with self._tables:
            self._tables.execute("INSERT INTO reports VALUES (?, ?, ?)", (number, self.model, time))
            self._tables.execute(f"UPDATE images SET report = ? WHERE {WAITING}", (number, self.model))  # noqa: S608

    def _image(self, where: str, *values: object) -> Image | None:
        query = f"SELECT {COLUMNS} FROM images WHERE {where} AND (report IS NOT NULL OR model = ?)"  # noqa: S608
        row = self._tables.execute(query, (*values, self.model)).fetchone()
        return Image(*row) if row else None

    def _one(self, query: str) -> int:
        (value,) = self._tables.execute(query).fetchone()
        return int(value)
