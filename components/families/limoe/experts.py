"""Which experts see which patches and words, as counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from components.core.batch import pixels_of
from components.core.view_split import ViewSplit

SHOWN = 6  # words of an expert in the table
PADDING = -1


@dataclass(frozen=True)
class Observed:
    """Routing of N images and captions by M mixtures.

    ``images`` uint8 [N, H, W, C]; ``patches`` int64 [N, M, P] and ``words`` int64 [N, M, T], the experts, -1 for padding;
    ``gates`` float32 [N, M, P] of the patches; ``pieces``: the tokens of each caption as texts, "" for padding.
    """

    images: np.ndarray
    patches: np.ndarray
    gates: np.ndarray
    words: np.ndarray
    pieces: list[list[str]]


def observe(served: Any, split: ViewSplit, most: int) -> Observed:
    """Route the first ``most`` images of a split and their first captions."""
    images = np.concatenate([*_first_batches(split, most)])[:most]
    captions = [own[0] for own in split.captions()[: len(images)]]
    patches, gates = served.experts_of_image(images)
    words, _, tokens = served.experts_of_text(captions)
    rows = zip(tokens, words[:, 0], strict=True)
    pieces = [[piece_of(*pair, served.tokeniser) for pair in zip(ids, own, strict=True)] for ids, own in rows]
    return Observed(images, patches, gates, words, pieces)


def _first_batches(split: ViewSplit, most: int) -> list[np.ndarray]:
    batches: list[np.ndarray] = []
    for batch in islice(split, most):
        if sum(map(len, batches)) >= most:
            break
        batches.append(pixels_of(batch))
    return batches


def piece_of(token: int, expert: int, tokeniser: Any) -> str:
    """Return a token's text, or its name if it stands for none; "" for padding."""
    if expert == PADDING:
        return ""
    special = {tokeniser.start_id: "(start)", tokeniser.end_id: "(end)"}
    return special.get(int(token)) or tokeniser.decode([token]).strip() or "(space)"


def counts_of(experts: np.ndarray, number: int) -> np.ndarray:
    """Count the tokens of each expert: [N, M, L] -> int64 [M, E]."""
    return np.stack([np.bincount(layer[layer != PADDING], minlength=number) for layer in experts.swapaxes(0, 1)])


def in_use(experts: np.ndarray, number: int) -> np.ndarray:
    """Return exp H of each mixture's choices, float64 [M]: 1 if all tokens go to one expert, E if each has as many."""
    shares = counts_of(experts, number) / (experts != PADDING).sum((0, 2))[:, None]
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.exp(-(shares * logs).sum(1))


def table(observed: Observed, number: int) -> list[dict[str, Any]]:
    """Return a row per mixture and expert: shares of all patches and of all words, and the words it sees most."""
    patches, words = (counts_of(experts, number) for experts in (observed.patches, observed.words))
    rows = []
    for layer in range(patches.shape[0]):
        seen = frequent_words(observed, layer)
        for expert in range(number):
            row: dict[str, Any] = {"mixture": layer + 1, "expert": expert}
            for name, counts in (("patches", patches), ("words", words)):
                own = int(counts[layer, expert])
                row |= {name: own, f"share_of_{name}": round(own / int(counts[layer].sum()), 4)}
            most = sorted(seen.get(expert, Counter()).items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
            rows.append(row | {"most_seen": ", ".join(f"{piece} {count}" for piece, count in most)})
    return rows


def frequent_words(observed: Observed, layer: int) -> dict[int, Counter[str]]:
    """Return expert -> how often it sees each token of text."""
    found: dict[int, Counter[str]] = {}
    for experts, pieces in zip(observed.words[:, layer], observed.pieces, strict=True):
        for expert, piece in zip(experts.tolist(), pieces, strict=True):
            if expert != PADDING:
                found.setdefault(expert, Counter())[piece] += 1
    return found
