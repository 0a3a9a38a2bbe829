"""Bad requests to MLflow's server of a published model: errors of the client, in a few words."""

import asyncio
import json

import httpx
import numpy as np
import pytest

from components.registry import model_registry as registry
from components.registry.scoring.requests import LONGEST, guarded, is_deep
from components.registry.tracking import connect, publish

GOOD = json.dumps({"inputs": {"image": np.zeros((2, 4, 4, 1), dtype=int).tolist()}})
WIDE = json.dumps({"inputs": {"image": np.zeros((9, 20, 20, 1), dtype=int).tolist()}})
JSON = {"content-type": "application/json"}


@pytest.fixture
def ask(home, monkeypatch):
    """Send bytes to the guarded server; its limit is 1 MB."""
    monkeypatch.setenv("DARKROOM_MAX_REQUEST_MB", "1")
    publish(home.workspace, "small")
    app = guarded(registry.scoring_app(connect(), "study.small", 1))

    async def post(content, headers):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            return await client.post("/invocations", content=content, headers=headers)

    return lambda content, headers=JSON: asyncio.run(post(content, headers))


def test_bad_requests_are_the_clients_errors_in_a_few_words(ask):
    assert ask(GOOD).status_code == 200
    assert len(ask(GOOD).json()["predictions"]["label"]) == 2
    without = ask(GOOD, {})
    assert (without.status_code, "Content-Type" in without.json()["message"]) == (400, True)
    for deep in ("[" * 100_000, '{"inputs":' + "[" * 100_000 + "]" * 100_000 + "}"):
        reply = ask(deep)
        assert (reply.status_code, "nested too deeply" in reply.json()["message"]) == (400, True)
    wide = ask(WIDE)
    assert wide.status_code == 400
    assert len(wide.text) < LONGEST + 100, wide.text
    assert "(9, 20, 20, 1)" in wide.json()["message"]
    assert "array(" not in wide.text
    assert "stack_trace" not in wide.json()
    assert ask(b" " * 1_000_001).status_code == 413


def test_brackets_in_texts_are_no_nesting():
    assert not is_deep(json.dumps({"inputs": ['[["' * 100, "]" * 500], "params": {"a": [[[1, 2], [3]]]}}).encode())
    assert is_deep(b"[" * 200 + b"]" * 200)
