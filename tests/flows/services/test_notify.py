"""Messages to people: they arrive at a local receiver, and nothing that goes wrong stops the work or shows a secret."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.core.config.strict import SettingsError
from flows.__main__ import main
from flows.services.notify import Address, addresses, check_addresses, notify_failure, notify_promotion, send

TOKEN = "t0p-s3cret-token"


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield silent.getsockname()[1]


def set_notify(fake: Any, **block: list[str]) -> None:
    fake.change(lambda content: content.update(notify=block))


def test_failure_and_promotion_go_to_their_own(new: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_TEST_TOKEN", TOKEN)
    set_notify(new, on_failure=[f"{receiver.url}/fail/${{DARKROOM_TEST_TOKEN}}"], on_promotion=[f"{receiver.url}/promote"])
    notify_failure(new.project(), "pipeline: train@a failed", "exit code 1; see http://me:pass@host/x")
    notify_promotion(new.project(), "a: version 2 promoted", "passed accuracy")
    assert receiver.paths == [f"/fail/{TOKEN}", "/promote"]
    first, second = receiver.messages
    assert first["title"].startswith("darkroom on ")
    assert first["title"].endswith("pipeline: train@a failed")
    assert first["message"] == "exit code 1; see http://me:***@host/x"
    assert second["message"] == "passed accuracy"


def test_a_missing_variable_is_named_before_work_starts_and_never_raised_after(
    new: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DARKROOM_TEST_TOKEN", raising=False)
    set_notify(new, on_failure=[], on_promotion=["json://ok", f"slack://{TOKEN}/${{DARKROOM_TEST_TOKEN}}"])
    with pytest.raises(SettingsError) as caught:
        check_addresses(new.project().params)
    assert str(caught.value).startswith("notify.on_promotion.1: the environment has no variable DARKROOM_TEST_TOKEN;")
    for command in (["run", "--dry-run"], ["promote", "a"]):
        assert main([*command, "--project", str(new.folder)]) == 2
    notify_promotion(new.project(), "title", "text")
    told = capsys.readouterr().err
    assert told.count("has no variable DARKROOM_TEST_TOKEN") == 3
    assert TOKEN not in told + str(caught.value)


def test_what_cannot_be_delivered_is_one_line_without_secrets(
    receiver: Any, new: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    broken = [f"nosuch://{TOKEN}", f"{receiver.url}/teapot/{TOKEN}", f"json://u:{TOKEN}@127.0.0.1:{port}/", TOKEN]
    set_notify(new, on_failure=broken)
    notify_failure(new.project(), "title", "text")
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "warning: notify.on_failure.0 (nosuch://...): this is no address that Apprise knows",
        "warning: notify.on_failure.1 (json://...): not delivered: the service answers 418",
        "warning: notify.on_failure.2 (json://...): not delivered: no connection",
        "warning: notify.on_failure.3 (no address://...): this is no address that Apprise knows",
    ]
    assert TOKEN not in out


def test_one_that_never_answers_is_not_waited_for(receiver: Any, dead_port: int) -> None:
    chosen = [Address("a", f"json://127.0.0.1:{dead_port}/?rto=60"), Address("b", receiver.url)]
    started = time.monotonic()
    faults = send(chosen, "title", "x" * 100_000, patience=1.0)
    assert time.monotonic() - started < 30  # seconds of Apprise's own patience: 60
    assert {address.key: fault for address, fault in faults.items()} == {"a": "not delivered within 1 s", "b": ""}
    assert len(receiver.messages[0]["message"]) < 5000


def test_an_address_shows_no_secret() -> None:
    (address,) = addresses(["tgram://${A}/1"], "notify.on_failure", {"A": TOKEN})
    assert address.url == f"tgram://{TOKEN}/1"
    assert TOKEN not in f"{address} {address!r}"


def test_the_command_shows_and_tests(new: Any, receiver: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["notify", "--project", str(new.folder)]
    assert main(words) == 0
    assert "nobody is notified" in capsys.readouterr().out
    set_notify(new, on_failure=[receiver.url, f"{receiver.url}/teapot"])
    assert main(words) == 0
    assert receiver.messages == []
    assert main([*words, "--test"]) == 1
    assert len(receiver.messages) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split() == ["notify.on_failure.0", "(json://...)", "delivered"]
    assert lines[-1].endswith("not delivered: the service answers 418")
