"""Search pictures by a text: vectors of the pictures that an index lacks, and an exact ranking by the matrix product."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.registry.monitor.incoming import Unreadable, read
from components.registry.predict.decoding import WORKERS, Broken
from components.registry.predict.index import Index
from components.registry.predict.model import Decode, Model
from components.registry.predict.pictures import Picture
from components.registry.predict.tables import replaced
from components.serving.text import FILE, Tokeniser


@dataclass(frozen=True)
class Hit:
    """A picture and the cosine of its angle to the text."""

    picture: Picture
    score: float


def must_search(model: Model) -> None:
    """Raise SettingsError unless the model embeds pictures and texts in one space."""
    if not (hasattr(model.served, "embed_image") and hasattr(model.served, "embed_text")):
        raise SettingsError(
            f"search: {model.name} has no vectors of pictures and texts; a run of the families clip and limoe has them"
        )


def text_vector(model: Model, text: str) -> tuple[np.ndarray, str]:
    """Return the text's vector [D], and a warning if the model's tokeniser cut it. SettingsError for an empty text."""
    if not text.strip():
        raise SettingsError("TEXT: an empty text is not allowed")
    try:
        vector = np.asarray(model.served.embed_text([text]))[0]
    except ValueError as error:
        raise SettingsError(f"TEXT: {error}") from None
    path = model.folder / FILE
    tokeniser = Tokeniser.read(path) if path.is_file() else None
    if tokeniser is None or not tokeniser.tokens([text])[1].any():
        return vector, ""
    read_as = tokeniser.decode(tokeniser.tokens([text])[0][0])
    return vector, f"the text is longer than the model's {tokeniser.context_length} tokens; it reads {read_as!r}"


def embed_pictures(
    model: Model, pictures: Iterable[Picture], index: Index, size: int, broken: Broken
) -> Iterator[tuple[Picture, bytes]]:
    """Yield every readable picture with its key, in order, and add what ``index`` lacks, ``size`` pictures at once.

    Only files that are new to the index are decoded, in threads, one batch ahead.
    """
    assert model.decode is not None  # only a generator has none
    decode, source = model.decode, iter(pictures)
    with ThreadPoolExecutor(WORKERS) as pool:

        def submit() -> list[tuple[Picture, Future[tuple[bytes, np.ndarray | None]]]]:
            return [(picture, pool.submit(_look, picture, index, decode)) for picture in islice(source, size)]

        ahead = submit()
        while ahead:
            batch, ahead = ahead, submit()
            found: list[tuple[Picture, bytes]] = []
            new: dict[bytes, np.ndarray] = {}
            for picture, future in batch:
                try:
                    key, pixels = future.result()
                except ValueError as error:
                    broken(picture, str(error))
                    continue
                found.append((picture, key))
                if pixels is not None and key not in index:
                    new[key] = pixels
            if new:
                index.add(list(new), np.asarray(model.served.embed_image(np.stack(list(new.values())))))
            yield from found


def _look(picture: Picture, index: Index, decode: Decode) -> tuple[bytes, np.ndarray | None]:
    """Return the file's key, and its pixels if the index does not know it. ValueError for a broken picture."""
    try:
        data = read(picture.path)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except Unreadable as error:
        raise ValueError(str(error)) from None
    key = hashlib.sha256(data).digest()
    return key, None if key in index else decode(data)


def best(found: Sequence[tuple[Picture, bytes]], index: Index, vector: np.ndarray, top: int) -> list[Hit]:
    """Return the ``top`` pictures by score, the first of equals first."""
    scores = index.vectors([key for _, key in found]) @ vector.astype(np.float32)
    order = np.argsort(-scores, kind="stable")[:top]
    return [Hit(found[row][0], float(scores[row])) for row in order.tolist()]


def write_hits(path: Path, hits: Sequence[Hit]) -> None:
    """Write rank, file and score as CSV."""
    with replaced(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["rank", "file", "score"])
        rows.writerows([rank, hit.picture.name, f"{hit.score:.6f}"] for rank, hit in enumerate(hits, 1))


def pixels_of(hits: Sequence[Hit], model: Model) -> list[tuple[Hit, Any]]:
    """Decode the pictures of the hits again, uint8 [H, W, C]; one that is gone by now is left out."""
    assert model.decode is not None
    shown = []
    for hit in hits:
        try:
            shown.append((hit, model.decode(read(hit.picture.path))))
        except (FileNotFoundError, Unreadable, ValueError):
            continue
    return shown
