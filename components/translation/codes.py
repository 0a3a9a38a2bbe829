"""MUNIT's propositions (Huang et al. 2018, section 4) as figures: style codes are N(0, I), content codes are of no domain."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from components.core.recipe import Metric, Report
from components.metrics.translation import distance_of_halves, distance_to_normal, l1_error
from components.translation.real import Real, chunks
from components.translation.settings import EvaluateSettings


def add_codes(found: Report, served: Any, real: Real, asked: EvaluateSettings) -> None:
    """Of the real images: tables ``style_codes`` (a row a domain), ``content_codes`` (a row a pair), ``reconstruction``.

    Every figure stands beside what chance alone gives with as many images: a draw from N(0, I), two halves of one domain.
    """
    codes = [codes_of(served, real, domain) for domain in range(len(real.domains))]
    if "style" in codes[0]:
        add_table(found, "style_codes", [style_row(real, index, entry["style"], asked) for index, entry in enumerate(codes)])
    pairs = combinations(range(len(real.domains)), 2)
    rows = [content_row(real, (a, b), (codes[a]["content"], codes[b]["content"]), asked) for a, b in pairs]
    add_table(found, "content_codes", rows)
    errors = [{"domain": name, "reconstruction_error": error_of(served, real, k)} for k, name in enumerate(real.domains)]
    add_table(found, "reconstruction", errors)


def add_table(found: Report, name: str, rows: list[dict[str, Any]]) -> None:
    """The rows, and the mean of each of their numbers as a metric; small is better in all of them."""
    found.tables[name] = rows
    for figure, value in rows[0].items():
        if isinstance(value, float):
            found.metrics[figure] = Metric(float(np.mean([row[figure] for row in rows])), "min")


def style_row(real: Real, domain: int, style: np.ndarray, asked: EvaluateSettings) -> dict[str, Any]:
    drawn = np.random.default_rng(asked.seed).standard_normal(style.shape)
    return {
        "domain": real.domains[domain],
        "images": len(style),
        "style_distance_to_normal": distance_to_normal(style),
        "style_distance_of_a_draw": distance_to_normal(drawn),
    }


def content_row(
    real: Real, pair: tuple[int, int], codes: tuple[np.ndarray, np.ndarray], asked: EvaluateSettings
) -> dict[str, Any]:
    between, within = distance_of_halves(*codes, asked.seed)
    return {
        "domain": real.domains[pair[0]],
        "other": real.domains[pair[1]],
        "images": len(codes[0]) // 2 + len(codes[1]) // 2,
        "content_distance": between,
        "content_distance_of_halves": within,
    }


def codes_of(served: Any, real: Real, domain: int) -> dict[str, np.ndarray]:
    """content float32 [n, F] and, where the model has styles, style [n, S] of a domain's images."""
    images = real.of_domain(domain)
    parts = [served.codes(images[part], np.full(len(images[part]), domain, np.int64)) for part in chunks(len(images))]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def error_of(served: Any, real: Real, domain: int) -> float:
    """Mean |reconstruction - image| in units of [-1, 1]."""
    images, errors = real.of_domain(domain), []
    for part in chunks(len(images)):
        source = np.full(len(images[part]), domain, np.int64)
        errors.append(l1_error(served.reconstruct(images[part], source), images[part]))
    return float(np.concatenate(errors).mean())
