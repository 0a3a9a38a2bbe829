"""Two machines that publish the same results at once: neither sees the other's lock, and both find the same record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from components.registry import model_registry as registry
from components.registry.record import recording
from components.registry.tracking import Server, publish


def too_early(function: Callable[..., Any], nothing: Any) -> Callable[..., Any]:
    """``function`` as it answers on the other machine: the first time before there was anything to find."""
    answers = [nothing]

    def answer(*arguments: Any) -> Any:
        return answers.pop() if answers else function(*arguments)

    return answer


def test_the_slower_one_takes_what_the_quicker_one_made(home, monkeypatch: pytest.MonkeyPatch) -> None:
    quicker = publish(home.workspace, "small")
    monkeypatch.setattr(recording, "_find_run", too_early(recording._find_run, None))
    monkeypatch.setattr(registry, "versions", too_early(registry.versions, []))
    created: list[str] = []
    create = Server.create

    def noted(server: Server, name: str, tags: dict[str, str]) -> Any:
        created.append(name)
        return create(server, name, tags)

    monkeypatch.setattr(Server, "create", noted)
    slower = publish(home.workspace, "small")
    assert created == ["small"]  # it did make one of its own
    assert slower == quicker
    server = Server.of(home.workspace)
    assert [run.info.run_id for run in server.runs({registry.KEY: quicker.key})] == [quicker.run_id]
    assert [int(version.version) for version in registry.versions(server.client, "study.small")] == [1]
