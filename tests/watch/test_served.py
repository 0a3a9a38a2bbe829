"""From requests to the return: two scoring servers as ``up`` starts them, the worse one promoted, watched and taken back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from components.core.settings import ROOT
from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry
from components.registry.promotion.journal import decide
from components.registry.tracking import connect, publish
from components.registry.watch.returning import returned, see

NAME, REQUESTS = "study.small", 110
WORSE = """
from .families.classification.served import Served as Good


class Served(Good):
    def predict(self, inputs, params=None):
        if inputs["image"].mean() > 100:
            raise RuntimeError("too bright")
        return super().predict(inputs, params)
"""


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[str]:
    """The scoring server of the champion; its address. Ends it in order, as the supervisor does."""
    ready, write = os.pipe()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        command = [
            sys.executable,
            "-m",
            "components.registry.scoring",
            NAME,
            "--fd",
            str(listening.fileno()),
            "--ready",
            str(write),
        ]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[listening.fileno(), write])
        os.close(write)
        try:
            assert os.read(ready, 100), "the server ended before it was ready"
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/invocations"
        finally:
            process.terminate()
            process.wait(60)
            os.close(ready)


def ask(url: str, value: int) -> int:
    """Ask for a grey picture; the status."""
    body = json.dumps({"inputs": {"image": [[[[value]] * 4] * 4]}}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


@pytest.mark.slow
def test_a_champion_that_fails_on_some_pictures_is_taken_back(home, environment, tmp_path):
    publish(home.workspace, "small")
    client = connect()
    (first,) = registry.versions(client, NAME)
    worse = shutil.copytree(home.folder / "outputs" / "export" / "small", tmp_path / "worse")
    (worse / "served.py").write_text(WORSE)
    registry.register(client, NAME, "another", first.run_id, worse)

    for number, before in ((1, None), (2, 1)):
        decide(client, Entry("promoted", NAME, number, "ada", "", before=before, after=number, previous=before))
        with serving(environment) as url:
            statuses = [ask(url, 200 if count % 3 == 0 else 50) for count in range(REQUESTS)]
        assert {status >= 400 for status in statuses[::3]} == {number == 2}
    sight = see(client, NAME, hours=24, alarm=0.001)
    assert sight.alarm
    errors = sight.lines[0]
    assert errors.figures["before"] == 0.0
    assert errors.figures["share"] == pytest.approx(37 / REQUESTS)
    print(*sight.lines, sep="\n")
    decide(client, returned(sight))
    assert registry.aliases(client, NAME)["champion"] == 1
