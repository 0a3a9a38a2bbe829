"""What has been scored, by content: no image is scored twice by one champion, and none is judged twice at all.

A row an image, which waits until it is part of a report. A report counts from the moment in which one transaction notes it and
marks its images; a report folder without that is what a killed process has left, and is made anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

FORM = 1  # of the tables; a later one is not read
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
    """``digest``: SHA-256 of the file's bytes; ``stamp``: see ``incoming``; ``model``: which champion, and how prepared.

    Either ``fault`` says why it is none, or the others say what the champion said of it.
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


class Memory:
    """The file ``path``, made where there is none. One process at a time: hold a lock around it. ``model``: today's champion.

    What is added becomes durable with ``commit``.
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
        """Drop what is not committed."""
        self._tables.close()

    def commit(self) -> None:
        """Keep what was added."""
        self._tables.commit()

    def at(self, path: bytes, stamp: str) -> Image | None:
        """What is known of the unchanged file, unless today's champion must look at it."""
        return self._image("path = ? AND stamp = ?", path, stamp)

    def of(self, digest: bytes) -> Image | None:
        """What is known of the content, unless today's champion must look at it."""
        return self._image("digest = ?", digest)

    def add(self, images: Sequence[Image]) -> None:
        """Note them; what a former champion said of one that still waits is replaced."""
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
        upsert = f"INSERT INTO images ({COLUMNS}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {changed} WHERE report IS NULL"  # noqa: S608
        self._tables.executemany(upsert, [astuple(image) for image in images])

    def move(self, digest: bytes, path: bytes, stamp: str) -> None:
        """The same content was found elsewhere."""
        self._tables.execute("UPDATE images SET path = ?, stamp = ? WHERE digest = ?", (path, stamp, digest))

    def outdated(self) -> list[bytes]:
        """Paths of the waiting images that a former champion has scored."""
        found = self._tables.execute(f"SELECT path FROM images WHERE {OUTDATED}", (self.model,))  # noqa: S608
        return [path for (path,) in found]

    def forget_outdated(self) -> int:
        """Those that are left of ``outdated``: their files are gone or changed, so that nobody can score them again."""
        done = self._tables.execute(f"DELETE FROM images WHERE {OUTDATED}", (self.model,))  # noqa: S608
        return done.rowcount

    def scores(self) -> np.ndarray:
        """float64 [n] of the images that wait."""
        found = self._tables.execute(f"SELECT score FROM images WHERE {WAITING}", (self.model,))  # noqa: S608
        return np.array([score for (score,) in found], dtype=np.float64)

    def strangest(self, limit: int = -1) -> Iterator[Image]:
        """The images that wait, the lowest score first."""
        order = f"SELECT {COLUMNS} FROM images WHERE {WAITING} ORDER BY score, digest LIMIT ?"  # noqa: S608
        return (Image(*row) for row in self._tables.execute(order, (self.model, limit)))

    def last_report(self) -> int:
        """The number of the last report that counts, 0 where there is none."""
        return int(self._one("SELECT coalesce(max(number), 0) FROM reports"))

    def judged(self, number: int, time: str) -> None:
        """In one step: the report counts, and every image that waited is part of it."""
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
