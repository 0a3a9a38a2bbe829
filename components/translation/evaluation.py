"""Figures of one ordered pair of domains: what the judges say of its translations, and of what they are compared with.

A figure's name ends with the runs whose word it is. ``..._reference``: guided by random real images of the target domain
instead of random styles. ``..._identity``: the untouched images judged as if they were translations. ``..._real``: real images
of the target domain, judged likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.metrics.conditional_inception_score import conditional_inception_score, inception_score
from components.metrics.diversity import mean_distance
from components.metrics.translation import distance_between, l1_error, spread, told_apart
from components.translation.judges import LPIPS_SIDE, Judges, Scores
from components.translation.real import Real, chunks, translated
from components.translation.settings import EvaluateSettings

Pair = tuple[int, int]  # source, target


@dataclass(frozen=True)
class Evaluation:
    """The served model, the real images, who judges, and how it is asked."""

    served: Any
    real: Real
    judges: Judges
    asked: EvaluateSettings

    @cached_property
    def seen(self) -> list[Scores]:
        """What the judge of domains says of the real images of each."""
        assert self.judges.domains is not None
        return [self.judges.domains.scores(self.real.of_domain(index)) for index in range(len(self.real.domains))]

    @cached_property
    def shown(self) -> list[np.ndarray]:
        """What the judge of content reads in the real images of each domain, int64 [n]."""
        assert self.judges.content is not None
        return [self.judges.content.scores(self.real.of_domain(index)).read for index in range(len(self.real.domains))]

    def counted(self) -> list[Pair]:
        """The pairs that the judge of domains tells apart; all, without such a judge. ValueError where there are none."""
        judge, least = self.judges.domains, self.asked.told_apart
        if judge is None:
            return self.real.pairs()
        accuracy = {pair: self.accuracy(pair) for pair in self.real.pairs()}
        if counted := [pair for pair, value in accuracy.items() if value >= least]:
            return counted
        source, target = (self.real.domains[index] for index in max(accuracy, key=lambda pair: accuracy[pair]))
        best = f"the best of them, {source} and {target}, at {max(accuracy.values()):.3f}"
        raise ValueError(f"evaluate.told_apart: {judge.name} tells no two domains apart at {least:g} or better, {best}")

    def accuracy(self, pair: Pair) -> float:
        """Of the judge of domains on real images of either."""
        assert self.judges.domains is not None
        columns = self.judges.domains.columns[list(pair)]
        source, target = (self.seen[index].logits for index in pair)
        return told_apart(source, target, (int(columns[0]), int(columns[1])))

    def row(self, pair: Pair) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(a row of the table, what is said of each single translation by random styles: figure -> [n])."""
        source, target = (self.real.domains[index] for index in pair)
        inputs = self.real.of_domain(pair[0])
        found: dict[str, Any] = {"source": source, "target": target, "images": len(inputs)}
        found |= self.yardsticks(pair)
        verdicts, figures = self.judged(pair, translated(self.served, inputs, pair[1], seed=self.asked.seed))
        found |= figures | self.varied(pair)
        if self.served.facts["style_width"]:
            reference = self.real.references(pair[1], len(inputs), self.asked.seed)
            guided = translated(self.served, inputs, pair[1], reference=reference)
            found |= self.judged(pair, guided, "_reference")[1] | self.varied(pair, "_reference")
        return found | {"cycle_error": self.cycle_error(pair)}, verdicts

    def yardsticks(self, pair: Pair) -> dict[str, float]:
        """What the judges say without any translation."""
        domains, content = self.judges.domains, self.judges.content
        if domains is None:
            return {}
        found = {f"told_apart_{domains.name}": self.accuracy(pair)}
        as_if = self.said(pair, self.seen[pair[0]].read, self.shown[pair[0]] if content else None, "_identity")
        found |= {name: float(values.mean()) for name, values in as_if.items() if name.startswith("both_read")}
        if content:
            right = self.shown[pair[1]] == self.labels(pair[1])
            both = right & (self.seen[pair[1]].read == domains.columns[pair[1]])
            found[f"both_read_real_{content.name}_{domains.name}"] = float(both.mean())
        found |= self.distance(pair, self.seen[pair[0]].features, "_identity")
        if self.served.facts["style_width"]:
            found[f"diversity_real_{domains.name}"] = mean_distance(self.seen[pair[1]].features)
        return found

    def judged(self, pair: Pair, made: np.ndarray, by: str = "") -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """(what is said of each translation, the figures) of ``made`` uint8 [n, H, W, C], the source's images translated."""
        domains, content = self.judges.domains, self.judges.content
        scores = domains.scores(made) if domains else None
        verdicts = self.said(pair, scores.read if scores else None, content.scores(made).read if content else None, by)
        figures = {name: float(values.mean()) for name, values in verdicts.items()}
        return verdicts, figures | (self.distance(pair, scores.features, by) if scores else {})

    def said(self, pair: Pair, domain: np.ndarray | None, shows: np.ndarray | None, by: str) -> dict[str, np.ndarray]:
        """figure -> float64 [n], 0 or 1, of the ``domain`` and the content (``shows``) that are read, int64 [n] or None."""
        judges, found = self.judges, {}
        if domain is not None:
            assert judges.domains is not None
            arrived = domain == judges.domains.columns[pair[1]]
            found[f"domain_error{by}_{judges.domains.name}"] = ~arrived
        if shows is not None:
            assert judges.content is not None
            found[f"content_kept{by}_{judges.content.name}"] = shows == self.shown[pair[0]]
            if judges.domains is not None:
                found[f"both_read{by}_{judges.content.name}_{judges.domains.name}"] = arrived & (shows == self.labels(pair[0]))
        return {name: values.astype(np.float64) for name, values in found.items()}

    def labels(self, domain: int) -> np.ndarray:
        """The true content of the real images of a domain, by the judge's numbers, int64 [n]."""
        assert self.judges.content is not None
        assert self.real.label is not None
        return self.judges.content.columns[self.real.label[self.real.chosen[domain]]]

    def distance(self, pair: Pair, features: np.ndarray, by: str) -> dict[str, float]:
        """Fréchet distance of translations to real images of the target, on the features of the judge of domains."""
        assert self.judges.domains is not None
        real, dimensions = self.seen[pair[1]].features, self.asked.dimensions
        reduced = f"_pca{dimensions}" if dimensions is not None and real.shape[1] > dimensions else ""
        return {f"frechet_distance{by}_{self.judges.domains.name}{reduced}": distance_between(real, features, dimensions)}

    def varied(self, pair: Pair, by: str = "") -> dict[str, float]:
        """How much the ``styles`` translations of one input differ, and over how many modes; {} for a model without styles."""
        domains, modes, lpips = self.judges.domains, self.judges.modes, self.judges.lpips
        if not self.served.facts["style_width"] or not (domains or modes or lpips):
            return {}
        made, found = self.many(pair, by), {}  # [N, S, H, W, C]
        flat = made.reshape(-1, *made.shape[2:])
        if domains:
            found[f"diversity{by}_{domains.name}"] = spread(domains.scores(flat).features.reshape(*made.shape[:2], -1))
        if modes:
            logits = modes.scores(flat).logits.reshape(*made.shape[:2], -1)
            found[f"conditional_inception_score{by}_{modes.name}"] = conditional_inception_score(logits)
            found[f"inception_score{by}_{modes.name}"] = inception_score(logits)
        if lpips:
            from components.networks.lpips import within_styles

            at = "" if made.shape[2] >= LPIPS_SIDE else f"_at_{LPIPS_SIDE}"
            found[f"lpips{by}{at}"] = float(within_styles(lpips, made, LPIPS_SIDE).mean())
        return found

    def many(self, pair: Pair, by: str) -> np.ndarray:
        """``styles`` translations of each of ``inputs`` images, uint8 [N, S, H, W, C]."""
        inputs, styles, seed = self.real.of_domain(pair[0])[: self.asked.inputs], self.asked.styles, self.asked.seed
        repeated = inputs.repeat(styles, 0)
        reference = self.real.references(pair[1], len(repeated), seed) if by else None
        made = translated(self.served, repeated, pair[1], seed=seed, reference=reference)
        return made.reshape(len(inputs), styles, *inputs.shape[1:])

    def cycle_error(self, pair: Pair) -> float:
        """Mean |there and back - image| in units of [-1, 1]."""
        inputs, errors = self.real.of_domain(pair[0]), []
        for part in chunks(len(inputs)):
            source, target = (np.full(len(inputs[part]), domain, np.int64) for domain in pair)
            errors.append(l1_error(self.served.there_and_back(inputs[part], source, target), inputs[part]))
        return float(np.concatenate(errors).mean())
