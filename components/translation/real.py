"""What an evaluation of a translator goes by: the real images by domain, and what is asked of the served model in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.batch import Split, to_pixels
from components.metrics.translation import LEAST
from components.translation.border import domains_of
from components.translation.settings import EvaluateSettings

CHUNK = 256  # images at once


@dataclass(frozen=True)
class Real:
    """The split: images uint8 [N, H, W, C], domain and label int64 [N] (label None where the view has none).

    ``chosen``: of each domain, the indices of at most ``images`` of it in random order; ``complete``: these are all.
    """

    images: np.ndarray
    domain: np.ndarray
    label: np.ndarray | None
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    chosen: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, split: Split, asked: EvaluateSettings, facts: dict[str, Any]) -> Real:
        """ValueError where the model knows other domains, or one of them has too few images."""
        domains = domains_of(split.facts)
        if tuple(facts["domains"][: len(domains)]) != domains:  # those of a second data set come after them
            theirs = ", ".join(facts["domains"])
            raise ValueError(f"view {split.facts.name!r} has the domains {', '.join(domains)}; the model was made for {theirs}")
        batches = list(split)
        images = np.concatenate([to_pixels(batch["image"]) for batch in batches])
        domain = np.concatenate([batch["domain"].numpy() for batch in batches])
        label = np.concatenate([batch["label"].numpy() for batch in batches]) if "label" in batches[0] else None
        order = np.random.default_rng(asked.seed).permutation(len(images))
        chosen = tuple(order[domain[order] == index][: asked.images] for index in range(len(domains)))
        for name, indices in zip(domains, chosen, strict=True):
            if len(indices) < LEAST:
                raise ValueError(
                    f"evaluate.split: {asked.split} has {len(indices)} image(s) of domain {name}; {LEAST} are needed"
                )
        return cls(images, domain, label, domains, split.facts.classes.get("label", ()), chosen)

    @property
    def complete(self) -> bool:
        return sum(map(len, self.chosen)) == len(self.images)

    def of_domain(self, domain: int) -> np.ndarray:
        """The chosen images of a domain, uint8 [n, H, W, C]."""
        return self.images[self.chosen[domain]]

    def pairs(self) -> list[tuple[int, int]]:
        """All ordered pairs (source, target) of two domains."""
        numbers = range(len(self.domains))
        return [(source, target) for source in numbers for target in numbers if source != target]

    def references(self, target: int, number: int, seed: int) -> np.ndarray:
        """Example images of ``target``, uint8 [number, H, W, C], in random order: each once before one comes again."""
        order = np.random.default_rng((seed, target)).permutation(self.chosen[target])
        return self.images[np.resize(order, number)]


def chunks(number: int) -> Iterator[slice]:
    """Slices that cover ``number`` images."""
    return (slice(start, start + CHUNK) for start in range(0, number, CHUNK))


def translated(
    served: Any,
    images: np.ndarray,
    target: int | np.ndarray,
    *,
    seed: int = 0,
    reference: np.ndarray | None = None,
    style: np.ndarray | None = None,
) -> np.ndarray:
    """``images`` uint8 [n, H, W, C] in domain ``target``, one or [n]: in styles of ``seed``, of references, or [n, S]."""
    made, domain = [], np.full(len(images), target, np.int64)
    for part in chunks(len(images)):
        guide = {"reference": reference, "style": style}
        given = {name: rows[part] for name, rows in guide.items() if rows is not None}
        made.append(served.translate(images[part], domain[part], seed=seed, first=part.start, **given))
    return np.concatenate(made)
