"""What an evaluation of a translator starts from: its settings, the real images by domain, and the judges of translations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from components.core.batch import Split, pixels_of
from components.core.config.strict import Strict
from components.serving.loading import load_served
from components.translation.interface import domains_of

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.networks.lpips import LPIPS

BATCH = 256  # images passed to a served model at once
MIN_IMAGES = 4  # per domain: two halves of two, which content codes are compared by
LPIPS_SIDE = 64  # pixels: AlexNet's last layers have one position at 32


class Settings(Strict):
    """The ``evaluate`` block: images of ``split`` are translated into every other domain and compared with its real images.

    Links provide the judges: ``domains`` and ``content`` (classifier runs), ``modes`` (for the inception scores), ``alexnet``
    and ``lpips`` (published weights).
    """

    renamed: ClassVar[dict[str, str]] = {
        "told_apart": "min_judge_accuracy",
        "styles": "num_styles",
        "inputs": "num_inputs",
    }

    split: Literal["train", "validation", "test"] = Field(default="test", description="whose images are translated")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of styles and references")
    images: int = Field(default=256, ge=6, description="at most, per domain and target domain")
    num_styles: int = Field(default=8, ge=2, le=1000, description="per input, for diversity and the inception scores")
    num_inputs: int = Field(default=32, ge=1, description="translated in so many styles, per pair of domains")
    min_judge_accuracy: float = Field(
        default=0.9, ge=0, le=1, description="of the judge of domains on two domains' real images, for the pair to count"
    )
    dimensions: int | None = Field(default=None, ge=1, description="of the features; more are reduced to these by PCA")
    rows: int = Field(default=8, ge=1, le=64, description="of the sheets")


@dataclass(frozen=True)
class RealImages:
    """A split: images uint8 [N, H, W, C], domain and label int64 [N] (label None if the view has none).

    ``selected``: per domain, the indices of at most ``images`` of its images in random order; ``complete``: these are all.
    """

    images: np.ndarray
    domain: np.ndarray
    label: np.ndarray | None
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    selected: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, split: Split, settings: Settings, facts: dict[str, Any]) -> RealImages:
        """Read the split; ValueError if the model has other domains or a domain has too few images."""
        domains = domains_of(split.facts)
        if tuple(facts["domains"][: len(domains)]) != domains:  # those of a second data set come after them
            theirs = ", ".join(facts["domains"])
            raise ValueError(f"view {split.facts.name!r} has the domains {', '.join(domains)}; the model was made for {theirs}")
        parts = [(pixels_of(batch), batch["domain"].numpy(), batch.get("label")) for batch in split]
        images, domain = (np.concatenate(arrays) for arrays in list(zip(*parts, strict=True))[:2])
        labels = [label.numpy() for _, _, label in parts if label is not None]
        order = np.random.default_rng(settings.seed).permutation(len(images))
        selected = tuple(order[domain[order] == index][: settings.images] for index in range(len(domains)))
        for name, indices in zip(domains, selected, strict=True):
            if len(indices) < MIN_IMAGES:
                fault = f"{settings.split} has {len(indices)} image(s) of domain {name}"
                raise ValueError(f"evaluate.split: {fault}; {MIN_IMAGES} are needed")
        label = np.concatenate(labels) if labels else None
        return cls(images, domain, label, domains, split.facts.classes.get("label", ()), selected)

    @property
    def complete(self) -> bool:
        return sum(map(len, self.selected)) == len(self.images)

    def of_domain(self, domain: int) -> np.ndarray:
        """The selected images of a domain, uint8 [n, H, W, C]."""
        return self.images[self.selected[domain]]

    def pairs(self) -> list[tuple[int, int]]:
        """All ordered pairs (source, target) of two domains."""
        indices = range(len(self.domains))
        return [(source, target) for source in indices for target in indices if source != target]

    def references(self, target: int, number: int, seed: int) -> np.ndarray:
        """Random example images of ``target``, uint8 [number, H, W, C]; none is repeated before all have been used."""
        order = np.random.default_rng((seed, target)).permutation(self.selected[target])
        return self.images[np.resize(order, number)]


def slices(number: int) -> Iterator[slice]:
    """Slices of at most BATCH that cover ``number`` images."""
    return (slice(start, start + BATCH) for start in range(0, number, BATCH))


def translate(
    served: Any,
    images: np.ndarray,
    target: int | np.ndarray,
    *,
    seed: int = 0,
    reference: np.ndarray | None = None,
    style: np.ndarray | None = None,
) -> np.ndarray:
    """Translate ``images`` uint8 [n, H, W, C] into ``target``, one domain or [n].

    Styles are those of ``reference`` [n, H, W, C], or ``style`` [n, S], or else drawn from ``seed``.
    """
    translations, domain = [], np.full(len(images), target, np.int64)
    for part in slices(len(images)):
        guides = {"reference": reference, "style": style}
        options = {name: guide[part] for name, guide in guides.items() if guide is not None}
        translations.append(served.translate(images[part], domain[part], seed=seed, first=part.start, **options))
    return np.concatenate(translations)


@dataclass(frozen=True)
class Scores:
    """A classifier's outputs for n images: logits [n, K], features [n, F]."""

    logits: np.ndarray
    features: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most likely class of each image, int64 [n]."""
        return self.logits.argmax(1)


@dataclass(frozen=True)
class Judge:
    """A classifier run; ``columns`` int64 [K]: its class indices of the K names that it must know."""

    served: Any
    name: str
    columns: np.ndarray

    @classmethod
    def of(cls, links: dict[str, Artifact], role: str, names: tuple[str, ...], facts: dict[str, Any]) -> Judge | None:
        """The run behind link ``role``, or None; ValueError if it takes other images or does not know all names."""
        if role not in links:
            return None
        folder = links[role].path
        served = load_served(folder)
        theirs = list(served.facts["classes"])
        if missing := [name for name in names if name not in theirs]:
            fault = f"link {role}: {folder.name} does not know {', '.join(missing[:8])}{', ...' * (len(missing) > 8)}"
            raise ValueError(f"{fault}; it knows {', '.join(theirs[:8])}{', ...' * (len(theirs) > 8)}")
        own, shape = ((known["image_size"], known["channels"]) for known in (facts, served.facts))
        if own != shape:
            raise ValueError(f"link {role}: {folder.name} sees images of (side, channels) {shape}, this model makes {own}")
        return cls(served, folder.name, np.array([theirs.index(name) for name in names], np.int64))

    def scores(self, images: np.ndarray) -> Scores:
        """Classify uint8 [n, H, W, C]."""
        outputs = [self.served.scores(images[part]) for part in slices(len(images))]
        return Scores(*(np.concatenate([output[key] for output in outputs]) for key in ("logits", "features")))


@dataclass(frozen=True)
class Judges:
    """The linked judges, None for the others. ``content`` needs a view with labels."""

    domains: Judge | None
    content: Judge | None
    modes: Judge | None
    lpips: LPIPS | None

    @classmethod
    def of(cls, links: dict[str, Artifact], real: RealImages, facts: dict[str, Any]) -> Judges:
        content = Judge.of(links, "content", real.classes, facts) if real.label is not None else None
        domains = Judge.of(links, "domains", real.domains, facts)
        return cls(domains, content, Judge.of(links, "modes", (), facts), load_lpips(links))


def load_lpips(links: dict[str, Artifact]) -> LPIPS | None:
    """LPIPS if both its files are linked; ValueError for one alone or for weights that do not fit."""
    linked = [role for role in ("alexnet", "lpips") if role in links]
    if len(linked) == 1:
        raise ValueError(f"link {linked[0]}: LPIPS stands on two files, torchvision's alexnet and LPIPS' own lpips; link both")
    if not linked:
        return None
    from components.networks.lpips import LPIPS

    network = LPIPS()
    try:
        network.load_published(links["alexnet"].weights().state, links["lpips"].weights().state)
    except ValueError as error:
        raise ValueError(f"links alexnet and lpips: {error}") from None
    return network
