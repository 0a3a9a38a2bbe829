"""Registered versions without models behind them, which cost milliseconds; and scores made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tracking.conftest import Home, environment, fresh_store, home, template, work

from components.registry import model_registry as registry
from components.registry.promotion.scores import VersionScores
from components.registry.record.dvc_lock import export_key

__all__ = ["environment", "fresh_store", "home", "template", "work"]
NAME, DATA = "study.small", "d" * 32


class Registry:
    """One registered model in memory, by the methods of MLflow's client that decisions use. A page of all versions at once."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(name=NAME, aliases={}, tags={})
        self.versions: list[SimpleNamespace] = []

    def get_registered_model(self, name: str) -> SimpleNamespace:
        return self.model

    def create_model_version(self, name: str, source: str, tags: dict[str, str]) -> SimpleNamespace:
        self.versions.append(SimpleNamespace(name=name, version=str(len(self.versions) + 1), run_id=None, tags=dict(tags)))
        return self.versions[-1]

    def get_model_version(self, name: str, number: str) -> SimpleNamespace:
        return self.versions[int(number) - 1]

    def delete_model_version(self, name: str, number: str) -> None:
        self.versions = [version for version in self.versions if version.version != number]

    def search_model_versions(self, wanted: str) -> Page:
        assert wanted == f"name = '{NAME}'"
        return Page(self.versions)

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        self.model.aliases[alias] = number

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self.model.aliases.pop(alias, None)

    def set_registered_model_tag(self, name: str, tag: str, value: str) -> None:
        self.model.tags[tag] = value

    def delete_registered_model_tag(self, name: str, tag: str) -> None:
        self.model.tags.pop(tag, None)

    def set_model_version_tag(self, name: str, number: str, tag: str, value: str) -> None:
        self.versions[int(number) - 1].tags[tag] = value


class Page(list):
    """As MLflow answers a search."""

    token = None


class Office:
    """A home with a registry; ``add`` registers what a training with these weights would have, as the candidate."""

    name = NAME

    def __init__(self, home: Home, client: Any):
        self.home, self.workspace, self.client = home, home.workspace, client

    def add(self, weights: str) -> int:
        self.home.lock(weights)
        key = export_key(self.workspace, "small")
        made = self.client.create_model_version(NAME, "file:///nowhere", tags={registry.KEY: key})
        registry.set_alias(self.client, NAME, "candidate", int(made.version))
        return int(made.version)

    def aliases(self) -> dict[str, int]:
        return registry.aliases(self.client, NAME)

    def tags(self, version: int) -> dict[str, str]:
        return dict(self.client.get_model_version(NAME, str(version)).tags)


@pytest.fixture
def office(home: Home) -> Office:
    """A registry of MLflow's, with the model's name and no version."""
    from components.registry.tracking import connect

    client = connect()
    client.create_registered_model(NAME)
    return Office(home, client)


@pytest.fixture
def quick_office(tmp_path: Path, work: Path) -> Office:
    """The same in memory: a decision against MLflow's database takes a tenth of a second."""
    return Office(Home(tmp_path / "study"), Registry())


@pytest.fixture
def scores() -> Callable[..., VersionScores]:
    """Scores of 200 images in two classes, all right but ``wrong`` of the first class."""

    def make(wrong: int = 0, **changes: Any) -> VersionScores:
        right = np.ones(200)
        right[:wrong] = 0
        found = VersionScores(
            version=1,
            model="k",
            data=DATA,
            metrics={"accuracy": float(right.mean()), "calibration_error": 0.01},
            better={"accuracy": "max", "calibration_error": "min"},
            latency={"latency_p50_ms": 1.0},
            group_names=("zero", "one"),
            groups=np.repeat([0, 1], 100),
            items={"accuracy": right},
        )
        return replace(found, **changes)

    return make
