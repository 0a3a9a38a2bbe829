"""An index of pictures: their vectors by a model, keyed by the content of the files, in one file that grows."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.core.files import write_atomically

KEY = 32  # bytes of a SHA-256


class Index:
    """Vectors float32 [M, D] of pictures by the SHA-256 of their files. ``model``: digest of the export that made them.

    Held in ``path``, an .npz file: ``model``, ``keys`` uint8 [M, 32], ``vectors``. A renamed picture keeps its vector, an
    edited one gets a new one; vectors of another export are never used.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        self.note = ""  # why an existing file was not used
        self._rows: dict[bytes, np.ndarray] = {}
        self._stored = 0
        if path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                model, keys, vectors = str(file["model"]), file["keys"], file["vectors"]
        except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            self.note = f"{self.path} is not a readable index ({error}): it is written anew"
            return
        if model != self.model:
            self.note = f"{self.path} is of another version of the model: it is written anew"
            return
        if keys.shape != (len(vectors), KEY) or vectors.ndim != 2:
            self.note = f"{self.path} is not an index: it is written anew"
            return
        self._rows = {key.tobytes(): row for key, row in zip(keys, vectors, strict=True)}
        self._stored = len(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    @property
    def grown(self) -> int:
        """Number of vectors that are not in the file yet."""
        return len(self._rows) - self._stored

    def add(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Add the vectors [n, D] of n files. ValueError if they are not what the index has, or not finite."""
        width = {len(row) for row in list(self._rows.values())[:1]} or {vectors.shape[-1]}
        if vectors.shape != (len(keys), *width) or not np.isfinite(vectors).all():
            raise ValueError(f"embed_image gave {vectors.shape} for {len(keys)} pictures, or numbers that are not finite")
        self._rows |= dict(zip(keys, vectors.astype(np.float32), strict=True))

    def vectors(self, keys: Sequence[bytes]) -> np.ndarray:
        """Return the vectors [n, D] of n files, n >= 1."""
        return np.stack([self._rows[key] for key in keys])

    def save(self) -> None:
        """Write the file if anything was added: all of it, or nothing."""
        if not self.grown:
            return
        keys = np.frombuffer(b"".join(self._rows), np.uint8).reshape(-1, KEY)
        file = io.BytesIO()
        np.savez(file, model=np.array(self.model), keys=keys, vectors=np.stack(list(self._rows.values())))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, file.getvalue())
        self._stored = len(self._rows)
