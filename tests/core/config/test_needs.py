"""Which blocks a block needs, and how far a fault reaches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from components.core.config.needs import Faults, needed_blocks, references, spread
from components.core.config.seeds import other_seeds

RAW: dict[str, Any] = {
    "datasets": {"d": {}},
    "views": {"v": {"dataset": "d"}, "w": {"dataset": "d"}},
    "runs": {"r": {"view": "v"}, "s": {"view": "w"}},
    "links": {"l": {"run": "r", "from": "outputs/train/s/weights.pt"}, "n": {"run": "s", "from": "outputs/views/v"}},
    "detect": {"x": {"run": "r", "view": "v"}},
    "ood": {"o": {"detect": "x", "view": "w"}},
}


def test_a_run_needs_its_view_links_detector_and_what_these_need_each_once() -> None:
    everything = [f"{kind}.{name}" for kind, blocks in RAW.items() for name in blocks]
    assert sorted(needed_blocks(RAW, ["runs.r"])) == sorted(everything)
    assert sorted(needed_blocks(RAW, ["runs.s"])) == ["datasets.d", "links.n", "runs.s", "views.v", "views.w"]
    assert needed_blocks(RAW, ["views.v", "views.v", "views.w"]) == ["views.v", "views.w", "datasets.d"]


def test_a_link_names_the_run_or_the_view_that_it_comes_from() -> None:
    assert references(RAW, "links.l") == ["runs.r", "runs.s"]
    assert references(RAW, "links.n") == ["runs.s", "views.v"]
    assert references(RAW | {"links": {"l": {"run": "r", "from": "outputs/train/gone"}}}, "links.l") == ["runs.r"]


def test_a_fault_stops_what_needs_its_block_and_nothing_else() -> None:
    faults: Faults = {"views.w": ["broken"]}
    spread(RAW, faults)
    assert faults == {"views.w": ["broken"], "runs.s": [], "links.l": [], "links.n": [], "ood.o": []}


def test_the_own_seed_of_a_run_without_one_is_0() -> None:
    run: Any = SimpleNamespace(seeds=[0, 1, 4], train={})
    assert other_seeds(run) == [1, 4]
    run.train["seed"] = 4
    assert other_seeds(run) == [0, 1]
