"""Drift of the scores of new images from those of the validation images: two tests, and an effect size.

Scores are float [n], **higher means more in-distribution**. An image is rejected if its score is below the threshold, which was
itself chosen on the ``reference``, the scores of the validation images. Drift must be both significant (``p < alarm``) and
large (index ``>= psi``), since with many images even tiny differences are significant.

``alarm`` bounds the probability that a report is a false alarm, over the draw of both reference and new images. Reports of one
champion share its reference, so their errors are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TESTS = 2  # scores and rejected share: each gets half of the false-alarm rate (Bonferroni)
BINS = 10  # of the index: deciles of the reference, as is usual


@dataclass(frozen=True)
class Rule:
    """Decision rule. ``least``: minimum number of images; ``alarm``: false-alarm rate per report; ``psi``: see above."""

    least: int
    alarm: float
    psi: float


@dataclass(frozen=True)
class Bins:
    """Histograms. ``edges`` [B - 1], ascending; a score on an edge is in the upper bin. ``reference``, ``new``: counts [B]."""

    edges: np.ndarray
    reference: np.ndarray
    new: np.ndarray


@dataclass(frozen=True)
class Drift:
    """Result of ``judge``. ``p_*``: p values; ``p``: of both tests combined; ``rejected``: share of the new images.

    ``rejected_expected`` and ``psi_expected``: their means without drift.
    """

    drift: bool
    p: float
    p_scores: float
    p_rejected: float
    rejected: float
    rejected_expected: float
    psi: float
    psi_expected: float
    bins: Bins


def judge(reference: np.ndarray, new: np.ndarray, threshold: float, rule: Rule) -> Drift:
    """Run both tests and compute the index. ValueError if scores are missing or not finite."""
    reference, new = _scores(reference, "reference"), _scores(new, "new")
    below, rejected = int((reference < threshold).sum()), int((new < threshold).sum())
    p_scores, p_rejected = p_of_scores(reference, new), p_of_rejected(rejected, len(new), below, len(reference))
    p = min(1.0, TESTS * min(p_scores, p_rejected))
    bins = count(reference, new)
    psi = stability_index(bins)
    return Drift(
        drift=p < rule.alarm and psi >= rule.psi,
        p=p,
        p_scores=p_scores,
        p_rejected=p_rejected,
        rejected=rejected / len(new),
        rejected_expected=(below + 1) / (len(reference) + 1),
        psi=psi,
        psi_expected=expected_index(bins),
        bins=bins,
    )


def p_of_scores(reference: np.ndarray, new: np.ndarray) -> float:
    """p value of the two-sample Kolmogorov-Smirnov test, two-sided; ties only make it more cautious.

    Kolmogorov 1933, Smirnov 1948; Conover, Practical Nonparametric Statistics (3rd ed.), section 6.3.
    """
    from scipy.stats import ks_2samp

    # The asymptotic form corrects for small samples; the exact one takes minutes for tens of thousands of scores.
    return float(ks_2samp(reference, new, method="asymp").pvalue)


def p_of_rejected(rejected: int, n: int, below: int, m: int) -> float:
    """P(at least ``rejected`` of ``n`` new scores are below the threshold) if they have the distribution of the reference.

    The threshold is one of the m reference scores, ``below`` of which are under it. So the probability that a new score is
    under it is Beta(below + 1, m - below) for any distribution, and their number is beta-binomial: the law of exceedances
    (Gumbel & von Schelling, Annals of Mathematical Statistics 21, 1950). A binomial test would treat that probability as known.
    """
    from scipy.special import logsumexp
    from scipy.stats import betabinom

    if rejected == 0 or below >= m:
        return 1.0
    upper_tail = betabinom.logpmf(np.arange(rejected, n + 1), n, below + 1, m - below)
    return float(min(1.0, np.exp(logsumexp(upper_tail))))


def count(reference: np.ndarray, new: np.ndarray) -> Bins:
    """Count the scores between the quantiles of the reference; fewer bins than ``BINS`` if scores are tied."""
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    number = len(edges) + 1
    counts = [np.bincount(np.searchsorted(edges, scores, "right"), minlength=number) for scores in (reference, new)]
    return Bins(edges, *counts)


def stability_index(bins: Bins) -> float:
    """Population stability index: sum over bins of (a - e) ln(a / e), with new and reference shares a and e.

    Siddiqi, Credit Risk Scorecards (2006); the symmetric divergence of Jeffreys (1946) between the two histograms. Half a
    count is added to each bin, so that an empty bin does not make the index infinite.
    """
    a, e = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (bins.new, bins.reference))
    return float(np.sum((a - e) * np.log(a / e)))


def expected_index(bins: Bins) -> float:
    """Mean of the index without drift, to first order (B - 1)(1/n + 1/m).

    Yurdakul & Naranjo, J. Risk Model Validation 14, 2020.
    """
    return (len(bins.new) - 1) * float(1 / bins.new.sum() + 1 / bins.reference.sum())


def _scores(scores: np.ndarray, which: str) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"{which}: scores of shape {list(scores.shape)}; expected are finite numbers, [n], n >= 1")
    return scores
