"""Who judges translations: classifier runs and LPIPS, behind an evaluation's links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.serving.loading import load_served
from components.translation.real import Real, chunks

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.networks.lpips import LPIPS

LPIPS_SIDE = 64  # pixels: AlexNet's last layers have one place at 32


@dataclass(frozen=True)
class Judge:
    """A classifier run; ``columns`` int64 [K]: its index of each of the K names that it must know."""

    served: Any
    name: str
    columns: np.ndarray

    @classmethod
    def of(cls, links: dict[str, Artifact], role: str, names: tuple[str, ...], facts: dict[str, Any]) -> Judge | None:
        """The run behind the link ``role``, if there is one; ValueError where it sees other images or knows not all names."""
        if role not in links:
            return None
        folder = links[role].path
        served = load_served(folder)
        theirs = list(served.facts["classes"])
        if missing := [name for name in names if name not in theirs]:
            fault = f"link {role}: {folder.name} does not know {', '.join(missing[:8])}{', ...' * (len(missing) > 8)}"
            raise ValueError(f"{fault}; it knows {', '.join(theirs[:8])}{', ...' * (len(theirs) > 8)}")
        own, seen = ((known["image_size"], known["channels"]) for known in (facts, served.facts))
        if own != seen:
            raise ValueError(f"link {role}: {folder.name} sees images of (side, channels) {seen}, this model makes {own}")
        return cls(served, folder.name, np.array([theirs.index(name) for name in names], np.int64))

    def scores(self, images: np.ndarray) -> Scores:
        """Its word on uint8 [n, H, W, C]."""
        found = [self.served.scores(images[part]) for part in chunks(len(images))]
        return Scores(*(np.concatenate([part[key] for part in found]) for key in ("logits", "features")))


@dataclass(frozen=True)
class Scores:
    """Of n images: logits [n, K], features [n, F]."""

    logits: np.ndarray
    features: np.ndarray

    @property
    def read(self) -> np.ndarray:
        """The class that is read in each image, int64 [n]."""
        return self.logits.argmax(1)


@dataclass(frozen=True)
class Judges:
    """None for those that are not linked. ``content`` only where the view says what its images show."""

    domains: Judge | None
    content: Judge | None
    modes: Judge | None
    lpips: LPIPS | None

    @classmethod
    def of(cls, links: dict[str, Artifact], real: Real, facts: dict[str, Any]) -> Judges:
        content = Judge.of(links, "content", real.classes, facts) if real.label is not None else None
        domains = Judge.of(links, "domains", real.domains, facts)
        return cls(domains, content, Judge.of(links, "modes", (), facts), lpips_of(links))


def lpips_of(links: dict[str, Artifact]) -> LPIPS | None:
    """LPIPS, where both its files are linked; ValueError for one alone, or one that is not what it should be."""
    given = [role for role in ("alexnet", "lpips") if role in links]
    if len(given) == 1:
        raise ValueError(f"link {given[0]}: LPIPS stands on two files, torchvision's alexnet and LPIPS' own lpips; link both")
    if not given:
        return None
    from components.networks.lpips import LPIPS

    network = LPIPS()
    try:
        network.load_published(links["alexnet"].state_dict(), links["lpips"].state_dict())
    except ValueError as error:
        raise ValueError(f"links alexnet and lpips: {error}") from None
    return network
