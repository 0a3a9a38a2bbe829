"""Figures of one ordered pair of domains, and of the codes that MUNIT and UNIT translate by.

A figure's name ends with the runs that judge it. ``..._reference``: styles are taken from random real images of the target
domain instead of being drawn. ``..._identity``: the untouched inputs are judged as if they were translations. ``..._real``:
real images of the target domain are judged likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from components.core.recipe import Metric, Report
from components.metrics.features import mean_distance
from components.metrics.translation import (
    conditional_inception_score,
    distance_between,
    distance_of_halves,
    distance_to_normal,
    inception_score,
    l1_error,
    spread,
    told_apart,
)
from components.translation.judges import LPIPS_SIDE, Judges, RealImages, Scores, Settings, slices, translate

Pair = tuple[int, int]  # source, target


@dataclass(frozen=True)
class PairFigures:
    """Compute the figures of pairs of domains for a served model."""

    served: Any
    real: RealImages
    judges: Judges
    settings: Settings

    @cached_property
    def real_scores(self) -> list[Scores]:
        """Per domain, the scores of its real images by the judge of domains."""
        assert self.judges.domains is not None
        return [self.judges.domains.scores(self.real.of_domain(index)) for index in range(len(self.real.domains))]

    @cached_property
    def real_content(self) -> list[np.ndarray]:
        """Per domain, the content predicted for its real images, int64 [n]."""
        assert self.judges.content is not None
        return [self.judges.content.scores(self.real.of_domain(index)).predicted for index in range(len(self.real.domains))]

    def counted(self) -> list[Pair]:
        """The pairs that the judge of domains distinguishes; all if there is no such judge. ValueError if there are none."""
        judge, least = self.judges.domains, self.settings.min_judge_accuracy
        if judge is None:
            return self.real.pairs()
        accuracy = {pair: self.judge_accuracy(pair) for pair in self.real.pairs()}
        if counted := [pair for pair, value in accuracy.items() if value >= least]:
            return counted
        source, target = (self.real.domains[index] for index in max(accuracy, key=lambda pair: accuracy[pair]))
        best = f"the best of them, {source} and {target}, at {max(accuracy.values()):.3f}"
        raise ValueError(f"evaluate.min_judge_accuracy: {judge.name} tells no two domains apart at {least:g} or better, {best}")

    def judge_accuracy(self, pair: Pair) -> float:
        """Accuracy of the judge of domains on real images of the pair."""
        assert self.judges.domains is not None
        columns = self.judges.domains.columns[list(pair)]
        source, target = (self.real_scores[index].logits for index in pair)
        return told_apart(source, target, (int(columns[0]), int(columns[1])))

    def row(self, pair: Pair) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(a row of the table, the verdicts on each translation by a random style: figure -> [n])."""
        source, target = (self.real.domains[index] for index in pair)
        inputs = self.real.of_domain(pair[0])
        row: dict[str, Any] = {"source": source, "target": target, "images": len(inputs)}
        row |= self.baselines(pair)
        verdicts, figures = self.judge(pair, translate(self.served, inputs, pair[1], seed=self.settings.seed))
        row |= figures | self.diversity(pair)
        if self.served.facts["style_width"]:
            reference = self.real.references(pair[1], len(inputs), self.settings.seed)
            guided = translate(self.served, inputs, pair[1], reference=reference)
            row |= self.judge(pair, guided, "_reference")[1] | self.diversity(pair, "_reference")
        return row | {"cycle_error": self.cycle_error(pair)}, verdicts

    def baselines(self, pair: Pair) -> dict[str, float]:
        """Figures of real images: the inputs as they are (a floor) and images of the target domain (a ceiling)."""
        domains, content = self.judges.domains, self.judges.content
        if domains is None:
            return {}
        figures = {f"told_apart_{domains.name}": self.judge_accuracy(pair)}
        inputs = self.real_scores[pair[0]]
        verdicts = self.verdicts(pair, inputs.predicted, self.real_content[pair[0]] if content else None, "_identity")
        figures |= {name: float(values.mean()) for name, values in verdicts.items() if name.startswith("both_read")}
        if content:
            right = self.real_content[pair[1]] == self.labels(pair[1])
            both = right & (self.real_scores[pair[1]].predicted == domains.columns[pair[1]])
            figures[f"both_read_real_{content.name}_{domains.name}"] = float(both.mean())
        figures |= self.frechet_distance(pair, inputs.features, "_identity")
        if self.served.facts["style_width"]:
            figures[f"diversity_real_{domains.name}"] = mean_distance(self.real_scores[pair[1]].features)
        return figures

    def judge(self, pair: Pair, images: np.ndarray, by: str = "") -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """(verdicts on each translation, figures) of the translated source images uint8 [n, H, W, C]."""
        domains, content = self.judges.domains, self.judges.content
        scores = domains.scores(images) if domains else None
        shown = content.scores(images).predicted if content else None
        verdicts = self.verdicts(pair, scores.predicted if scores else None, shown, by)
        figures = {name: float(values.mean()) for name, values in verdicts.items()}
        return verdicts, figures | (self.frechet_distance(pair, scores.features, by) if scores else {})

    def verdicts(self, pair: Pair, domain: np.ndarray | None, content: np.ndarray | None, by: str) -> dict[str, np.ndarray]:
        """figure -> 0 or 1 per image, float64 [n], of the predicted ``domain`` and ``content``, int64 [n] or None."""
        judges, verdicts = self.judges, {}
        if domain is not None:
            assert judges.domains is not None
            arrived = domain == judges.domains.columns[pair[1]]
            verdicts[f"domain_error{by}_{judges.domains.name}"] = ~arrived
        if content is not None:
            assert judges.content is not None
            verdicts[f"content_kept{by}_{judges.content.name}"] = content == self.real_content[pair[0]]
            if judges.domains is not None:
                both = arrived & (content == self.labels(pair[0]))
                verdicts[f"both_read{by}_{judges.content.name}_{judges.domains.name}"] = both
        return {name: values.astype(np.float64) for name, values in verdicts.items()}

    def labels(self, domain: int) -> np.ndarray:
        """The true content of a domain's real images as the judge's class indices, int64 [n]."""
        assert self.judges.content is not None
        assert self.real.label is not None
        return self.judges.content.columns[self.real.label[self.real.selected[domain]]]

    def frechet_distance(self, pair: Pair, features: np.ndarray, by: str) -> dict[str, float]:
        """Fréchet distance of translations to real images of the target, on the features of the judge of domains."""
        assert self.judges.domains is not None
        real, dimensions = self.real_scores[pair[1]].features, self.settings.dimensions
        reduced = f"_pca{dimensions}" if dimensions is not None and real.shape[1] > dimensions else ""
        return {f"frechet_distance{by}_{self.judges.domains.name}{reduced}": distance_between(real, features, dimensions)}

    def diversity(self, pair: Pair, by: str = "") -> dict[str, float]:
        """How much the translations of one input differ, and over how many modes; {} for a model without styles."""
        domains, modes, lpips = self.judges.domains, self.judges.modes, self.judges.lpips
        if not self.served.facts["style_width"] or not (domains or modes or lpips):
            return {}
        images, figures = self.many_styles(pair, by), {}  # [N, S, H, W, C]
        flat = images.reshape(-1, *images.shape[2:])
        if domains:
            figures[f"diversity{by}_{domains.name}"] = spread(domains.scores(flat).features.reshape(*images.shape[:2], -1))
        if modes:
            logits = modes.scores(flat).logits.reshape(*images.shape[:2], -1)
            figures[f"conditional_inception_score{by}_{modes.name}"] = conditional_inception_score(logits)
            figures[f"inception_score{by}_{modes.name}"] = inception_score(logits)
        if lpips:
            from components.networks.lpips import within_styles

            at = "" if images.shape[2] >= LPIPS_SIDE else f"_at_{LPIPS_SIDE}"
            figures[f"lpips{by}{at}"] = float(within_styles(lpips, images, LPIPS_SIDE).mean())
        return figures

    def many_styles(self, pair: Pair, by: str) -> np.ndarray:
        """``num_styles`` translations of each of ``num_inputs`` images, uint8 [N, S, H, W, C]."""
        styles, seed = self.settings.num_styles, self.settings.seed
        inputs = self.real.of_domain(pair[0])[: self.settings.num_inputs]
        repeated = inputs.repeat(styles, 0)
        reference = self.real.references(pair[1], len(repeated), seed) if by else None
        translations = translate(self.served, repeated, pair[1], seed=seed, reference=reference)
        return translations.reshape(len(inputs), styles, *inputs.shape[1:])

    def cycle_error(self, pair: Pair) -> float:
        """Mean |there and back - image| in units of [-1, 1]."""
        inputs, errors = self.real.of_domain(pair[0]), []
        for part in slices(len(inputs)):
            source, target = (np.full(len(inputs[part]), domain, np.int64) for domain in pair)
            errors.append(l1_error(self.served.there_and_back(inputs[part], source, target), inputs[part]))
        return float(np.concatenate(errors).mean())


# ------------------------------------------------------------------------------------------------ codes


def add_codes(report: Report, served: Any, real: RealImages, settings: Settings) -> None:
    """Test MUNIT's assumptions (Huang et al. 2018, section 4): styles are N(0, I), content does not depend on the domain.

    Tables ``style_codes`` (a row per domain), ``content_codes`` (per pair) and ``reconstruction``. Beside each figure stands
    what chance gives for as many images: a draw from N(0, I), two halves of one domain.
    """
    codes = [codes_of(served, real, domain) for domain in range(len(real.domains))]
    if "style" in codes[0]:
        styles = [style_row(name, domain["style"], settings) for name, domain in zip(real.domains, codes, strict=True)]
        add_table(report, "style_codes", styles)
    named = [(name, domain["content"]) for name, domain in zip(real.domains, codes, strict=True)]
    add_table(report, "content_codes", [content_row(*pair, settings) for pair in combinations(named, 2)])
    errors = [{"domain": name, "reconstruction_error": error_of(served, real, k)} for k, name in enumerate(real.domains)]
    add_table(report, "reconstruction", errors)


def add_table(report: Report, name: str, rows: list[dict[str, Any]]) -> None:
    """Add a table, and the means of its figures as metrics; smaller is better for all of them."""
    report.tables[name] = rows
    for figure, value in rows[0].items():
        if isinstance(value, float):
            report.metrics[figure] = Metric(float(np.mean([row[figure] for row in rows])), "min")


def style_row(domain: str, style: np.ndarray, settings: Settings) -> dict[str, Any]:
    draw = np.random.default_rng(settings.seed).standard_normal(style.shape)
    return {
        "domain": domain,
        "images": len(style),
        "style_distance_to_normal": distance_to_normal(style),
        "style_distance_of_a_draw": distance_to_normal(draw),
    }


def content_row(one: tuple[str, np.ndarray], other: tuple[str, np.ndarray], settings: Settings) -> dict[str, Any]:
    """``one`` and ``other``: a domain's name and its content codes [n, F]."""
    between, within = distance_of_halves(one[1], other[1], settings.seed)
    return {
        "domain": one[0],
        "other": other[0],
        "images": len(one[1]) // 2 + len(other[1]) // 2,
        "content_distance": between,
        "content_distance_of_halves": within,
    }


def codes_of(served: Any, real: RealImages, domain: int) -> dict[str, np.ndarray]:
    """content float32 [n, F] and, if the model has styles, style [n, S] of a domain's images."""
    images = real.of_domain(domain)
    parts = [served.codes(images[part], np.full(len(images[part]), domain, np.int64)) for part in slices(len(images))]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def error_of(served: Any, real: RealImages, domain: int) -> float:
    """Mean |reconstruction - image| in units of [-1, 1]."""
    images, errors = real.of_domain(domain), []
    for part in slices(len(images)):
        source = np.full(len(images[part]), domain, np.int64)
        errors.append(l1_error(served.reconstruct(images[part], source), images[part]))
    return float(np.concatenate(errors).mean())
