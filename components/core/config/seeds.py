"""Several seeds of one run: each seed is a run of its own, and the evaluation of the first summarises them all.

``runs.<run>.seeds: [0, 1, 2]`` needs the runs ``<run>_seed1`` and ``<run>_seed2``, equal to ``<run>`` but for ``train.seed``,
and a link from the metrics of each to the evaluation of ``<run>``. ``python -m flows seeds <run>`` writes them: DVC's templates
make one stage per entry of a block and cannot nest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from components.core.config.strict import SettingsError

if TYPE_CHECKING:
    from components.core.config.params import Params, Run
    from components.core.config.references import Link

EVALUATE = "evaluate"  # the stage that the metrics of the other seeds are linked to


def seed_run(run: str, seed: int) -> str:
    """Return the name of the run that repeats ``run`` with another seed."""
    return f"{run}_seed{seed}"


def seed_role(seed: int) -> str:
    """Return the role of a link to the metrics of a seed."""
    return f"seed_{seed}"


def is_seed_link(link: Link) -> bool:
    """Return whether the link points to the metrics of another seed."""
    return link.stage == EVALUATE and re.fullmatch(r"seed_\d+", link.role) is not None


def metrics_of(run: str) -> str:
    """Return the path of a run's metrics."""
    return f"outputs/evaluate/{run}/metrics.json"


def other_seeds(run: Run) -> list[int]:
    """Return the run's seeds without its own, in the order of its block."""
    return [seed for seed in run.seeds if seed != run.train.get("seed", 0)]


def check_seeds(params: Params, name: str) -> None:
    """Check that a run with seeds has its other runs and links, as ``python -m flows seeds`` writes them."""
    run = params.runs[name]
    if run.seeds:
        _check_list(name, run)
        for seed in other_seeds(run):
            _check_repeated(params, name, seed)


def check_seed_link(params: Params, name: str) -> None:
    """Check that a link to the metrics of another seed is one of the run's seeds."""
    link = params.links[name]
    run = params.runs.get(link.run)
    if run is not None and is_seed_link(link) and link.role not in map(seed_role, run.seeds):
        fault = f"links.{name}.role: {link.role!r} is not allowed: runs.{link.run}.seeds are {list(run.seeds)}"
        raise SettingsError(f"{fault}; {_remedy(link.run)}")


def _check_list(name: str, run: Run) -> None:
    key, own = f"runs.{name}.seeds", run.train.get("seed", 0)
    if len(set(run.seeds)) < max(2, len(run.seeds)):
        raise SettingsError(f"{key}: {list(run.seeds)} is not allowed: at least two different seeds are expected")
    if own not in run.seeds:
        raise SettingsError(f"{key}: {list(run.seeds)} is not allowed: runs.{name}.train.seed, {own}, must be one of them")


def _check_repeated(params: Params, name: str, seed: int) -> None:
    other, key = seed_run(name, seed), f"runs.{name}.seeds"
    if other not in params.runs:
        raise SettingsError(f"{key}: there is no run {other!r} for the seed {seed}; {_remedy(name)}")
    differing = _differing(params.runs[name], params.runs[other], seed)
    if differing:
        raise SettingsError(f"runs.{other}.{differing}: differs from runs.{name}.{differing}; {_remedy(name)}")
    metrics = {link.role: link.artifact for link in params.links.values() if link.run == name and is_seed_link(link)}
    if metrics.get(seed_role(seed)) != metrics_of(other):
        raise SettingsError(f"{key}: no link gives the metrics of {other!r} to the evaluation of {name!r}; {_remedy(name)}")
    if _links(params, other) != _links(params, name):
        raise SettingsError(f"links: those of {other!r} differ from those of {name!r}; {_remedy(name)}")


def repeated_links(params: Params, name: str) -> dict[str, Link]:
    """Return the links of the run that its other seeds need too: all but other seeds' metrics and the served detector."""
    from components.core.config.references import DETECTOR

    links = {key: link for key, link in params.links.items() if link.run == name and not is_seed_link(link)}
    return {key: link for key, link in links.items() if (link.stage, link.role) != ("export", DETECTOR)}


def _links(params: Params, name: str) -> dict[tuple[str, str], str]:
    return {(link.stage, link.role): link.artifact for link in repeated_links(params, name).values()}


def _differing(run: Run, other: Run, seed: int) -> str | None:
    """Return the key of the first block or setting in which ``other`` is not ``run`` with the seed ``seed``."""
    for block in ("recipe", "view", "model", "export", "evaluate"):
        if getattr(run, block) != getattr(other, block):
            return block
    expected: dict[str, Any] = {**run.train, "seed": seed}
    keys = (*expected, *other.train)
    return next((f"train.{key}" for key in keys if expected.get(key) != other.train.get(key)), None)


def _remedy(run: str) -> str:
    return f"`python -m flows seeds {run}` writes them"
