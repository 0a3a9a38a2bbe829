"""Compare the traffic of a new champion with that of the one before: errors, latency, rejected pictures. Pure functions.

Each is one-sided: Fisher's exact test of two shares must be significant **and** the difference large, since with many requests
tiny differences are significant. Requests of one client resemble each other, which the test does not know and the required
difference allows for.

The watch looks again each time that the number of requests has doubled. Look k = 0, 1, ... spends ``alarm`` / ((k + 1)(k + 2)),
whose sum over all looks is ``alarm``, divided by the number of tests (Bonferroni): so ``alarm`` bounds the probability that a
whole watch returns a champion that is as good as the old one.
"""

from __future__ import annotations

from components.registry.promotion.gates import GateResult
from components.registry.watch.traffic import Traffic, milliseconds

LEAST = 100  # requests, or pictures, of each version
TESTS = 3
MORE_ERRORS = 0.01  # by which the share of errors must be larger
MORE_REJECTED = 0.05  # by which the share of rejected pictures must be larger
SLOW = 0.95  # quantile of the old champion's latency: slower answers are slow
SLOWER = 1.5  # factor by which this quantile must be larger


def look_of(requests: int) -> int | None:
    """Return the number of the look that so many requests are enough for; None: too few for the first."""
    return (requests // LEAST).bit_length() - 1 if requests >= LEAST else None


def requests_for(look: int) -> int:
    """Return the requests that a look needs."""
    return int(LEAST * 2**look)


def compare(old: Traffic, new: Traffic, alarm: float, look: int) -> list[GateResult]:
    """Return one line per comparison; not passed: the new champion does worse. What lacks data passes, and says so."""
    level = alarm / TESTS / ((look + 1) * (look + 2))
    return [_errors(old, new, level), _latency(old, new, level), _rejected(old, new, level)]


def _errors(old: Traffic, new: Traffic, level: float) -> GateResult:
    if few := _few("requests", old.requests, new.requests):
        return GateResult("errors", True, few, {})
    p = p_larger(new.errors, new.requests, old.errors, old.requests)
    before, after = old.errors / old.requests, new.errors / new.requests
    words = f"{after:.2%} of {new.requests} requests were not answered ({new.failed} failed, {new.refused} refused), "
    words += f"{before:.2%} of {old.requests} before (p {p:.2g})"
    passed = not (p < level and after - before >= MORE_ERRORS)
    return GateResult("errors", passed, words, {"share": after, "before": before, "p": p})


def _latency(old: Traffic, new: Traffic, level: float) -> GateResult:
    if few := _few("answers", old.latency.total(), new.latency.total()):
        return GateResult("latency", True, few, {})
    bound = old.quantile(SLOW)
    slow_before, slow = (sum(n for at, n in side.latency.items() if at > bound) for side in (old, new))
    p = p_larger(slow, new.latency.total(), slow_before, old.latency.total())
    before, after = milliseconds(bound), milliseconds(new.quantile(SLOW))
    words = f"{SLOW:.0%} of {new.latency.total()} answers within {after:.1f} ms, {before:.1f} ms before (p {p:.2g})"
    passed = not (p < level and after >= SLOWER * before)
    return GateResult("latency", passed, words, {"ms": after, "before": before, "p": p})


def _rejected(old: Traffic, new: Traffic, level: float) -> GateResult:
    if few := _few("pictures that a detector judged", old.pictures, new.pictures):
        return GateResult("rejected", True, few, {})
    p = p_larger(new.rejected, new.pictures, old.rejected, old.pictures)
    before, after = old.rejected / old.pictures, new.rejected / new.pictures
    words = f"{after:.2%} of {new.pictures} pictures were rejected, {before:.2%} of {old.pictures} before (p {p:.2g})"
    passed = not (p < level and after - before >= MORE_REJECTED)
    return GateResult("rejected", passed, words, {"share": after, "before": before, "p": p})


def _few(what: str, old: int, new: int) -> str:
    """Return why the two are not compared, "" if they are."""
    return "" if min(old, new) >= LEAST else f"not compared: {new} {what}, {old} before; {LEAST} of each are needed"


def p_larger(new: int, of_new: int, old: int, of_old: int) -> float:
    """p value of Fisher's exact test that the share ``new`` / ``of_new`` is not larger (Fisher 1935; one-sided)."""
    from scipy.stats import hypergeom

    return float(min(1.0, hypergeom.sf(new - 1, of_new + of_old, new + old, of_new)))
