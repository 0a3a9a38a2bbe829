"""Retrieval of captions by pictures and of pictures by captions, over a whole split with all its captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.batch import ViewFacts, pixels_of
from components.core.recipe import Metric, Report
from components.core.view_split import ViewSplit
from components.metrics.caption_sheet import caption_sheet
from components.metrics.retrieval import chance_of_recall, first_ranks, inverse

BEST = 5  # pictures below each caption of the sheet


@dataclass(frozen=True)
class Embedded:
    """A split's images: unit rows ``vectors`` [N, D]."""

    facts: ViewFacts
    vectors: np.ndarray
    columns: dict[str, np.ndarray]


def embed(served: Any, split: ViewSplit) -> Embedded:
    """Embed all images of a split."""
    vectors = np.concatenate([served.embed_image(pixels_of(batch)) for batch in split])
    return Embedded(split.facts, vectors, dict(split.columns))


def add_retrieval(report: Report, served: Any, images: Embedded, split: ViewSplit, recall_at: tuple[int, ...]) -> None:
    """Add recall at k of captions by images and of images by captions, and counts of the captions.

    Captions with the same words are one: each is right for all its pictures.
    """
    captions = split.captions()
    texts, relevant = distinct(captions)
    vectors = served.embed_text(texts)
    ways = {
        "image_to_text": (images.vectors, vectors, relevant),
        "text_to_image": (vectors, images.vectors, inverse(relevant, len(texts))),
    }
    rows = []
    for way, (queries, items, right) in ways.items():
        ranks = first_ranks(queries, items, right)
        for k in recall_at:
            found, name = (ranks < k).astype(np.float64), f"{way}.recall_at_{k}"
            report.metrics[name] = Metric(float(found.mean()), "max")
            if way == "image_to_text":
                report.items[name] = found
            row = {"direction": way, "k": k, "recall": float(found.mean()), "chance": chance_of_recall(right, len(items), k)}
            rows.append(row | {"queries": len(queries), "items": len(items), "median_rank": float(np.median(ranks)) + 1})
    report.tables["retrieval"] = rows
    given = sum(map(len, captions))
    counts = {"captions": given, "distinct": len(texts), "duplicates": given - len(texts), "cut": int(served.cut(texts).sum())}
    report.tables["captions"] = [{"images": len(captions)} | counts]


def distinct(captions: list[list[str]]) -> tuple[list[str], list[np.ndarray]]:
    """Return the distinct captions, and which of them each image has."""
    texts = list(dict.fromkeys(caption for own in captions for caption in own))
    place = {text: index for index, text in enumerate(texts)}
    return texts, [np.array(sorted({place[caption] for caption in own})) for own in captions]


def sheet_of_captions(served: Any, images: Embedded, split: ViewSplit, name: str, number: int) -> np.ndarray:
    """Draw at most ``number`` captions of the split ``name``, evenly spaced, with the pictures nearest to each."""
    texts, relevant = distinct(split.captions())
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(number, len(texts))).astype(int))
    vectors = served.embed_text([texts[text] for text in chosen])
    best = np.argsort(-(vectors @ images.vectors.T), axis=1, kind="stable")[:, :BEST]
    own = inverse(relevant, len(texts))
    right = np.array([np.isin(row, own[text]) for row, text in zip(best, chosen, strict=True)])
    assert split.other is not None
    pictures = _pictures(split.other(name), best.ravel())
    return caption_sheet([texts[text] for text in chosen], pictures.reshape(*best.shape, *pictures.shape[1:]), right)


def _pictures(split: ViewSplit, rows: np.ndarray) -> np.ndarray:
    """Return the images of ``rows``, uint8 [len(rows), H, W, C], from one pass over the split."""
    wanted, start = set(rows.tolist()), 0
    found: dict[int, np.ndarray] = {}
    for batch in split:
        pixels = pixels_of(batch)
        found |= {row: pixels[row - start] for row in wanted if start <= row < start + len(pixels)}
        start += len(pixels)
    return np.stack([found[row] for row in rows.tolist()])
