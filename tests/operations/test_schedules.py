"""Schedules on the real server: runs complete, new images retrain their run alone, one missed run is made up for."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import urllib.request
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from operating import Home, wait_for
from workbench import free_ports

from flows.services.prefect_server import answers

pytestmark = pytest.mark.slow

INTERVAL = 15.0  # seconds between two scheduled runs
WEEK = 7 * 86400.0

# The deployments as `up` serves them, but for the schedule: a cron string knows no seconds.
SERVE = """
import os, sys
from datetime import timedelta
from flows.project import set_defaults
from flows.services.definitions import OWN_SERVER
os.environ[OWN_SERVER] = "1"
set_defaults()
from prefect.schedules import Interval
from flows.services.deployments import run_deployments
run_deployments({"pipeline": Interval(timedelta(seconds=float(sys.argv[1])))})
"""


class Served:
    """The project, its Prefect server and the process that serves the pipeline."""

    def __init__(self, home: Home) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.options = {
            "PREFECT_HOME": str(home.folder / ".work" / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_RUNNER_POLL_FREQUENCY": "3",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        }

    def serve(self, stack: ExitStack, interval: float) -> tuple[int, int]:
        """Start both; their pids."""
        (self.home.folder / ".work" / "prefect").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(self.port)]
        server = stack.enter_context(self.home.started("server", *command, **self.options))
        wait_for(lambda: answers(f"{self.api}/health"), "the server")
        command = [sys.executable, "-c", SERVE, str(interval)]
        return server, stack.enter_context(self.home.started("serve", *command, **self.options))

    def runs(self) -> list[dict[str, Any]]:
        """The flow runs whose time has come, by time."""
        body = json.dumps({"sort": "EXPECTED_START_TIME_ASC", "limit": 200}).encode()
        request = urllib.request.Request(f"{self.api}/flow_runs/filter", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [run for run in map(told, filter(stated, json.load(answer))) if run["due"] <= time.time()]

    def made(self, stage: str) -> int:
        """How often DVC has run the stage."""
        return len(re.findall(rf"RunningServers stage '{stage}'", self.home.log("serve")))

    def completed(self, since: float) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["type"] == "COMPLETED" and run["start"] > since]


def stated(run: dict[str, Any]) -> bool:
    """Whether the run is all there: for a moment the server shows one that it is just making."""
    return run["state"] is not None


def told(run: dict[str, Any]) -> dict[str, Any]:
    """What the server says of a flow run, with times as seconds."""
    times = {"due": "expected_start_time", "start": "start_time", "end": "end_time"}
    found = {name: run[key] and datetime.fromisoformat(run[key]).timestamp() for name, key in times.items()}
    state = run["state"]
    return found | {"type": state["type"], "state": state["name"], "message": state["message"]}


@pytest.fixture(scope="module")
def served(home: Home) -> Served:
    """Nothing runs yet."""
    return Served(home)


@pytest.fixture(scope="module")
def interrupted(served: Served) -> dict[str, Any]:
    """What happened: scheduled runs, new images, a training in whose midst everything is killed; and back up after a while."""
    story: dict[str, Any] = {}
    with ExitStack() as stack:
        served.serve(stack, INTERVAL)
        wait_for(lambda: served.completed(0.0), "a scheduled run that has completed")
        story["first"] = {name: served.made(f"train@{name}") for name in ("toy", "own")}
        served.home.add_pictures(2, seed=1)
        added = time.time()
        wait_for(lambda: served.made("train@own") == 2 and served.completed(added), "another training")
        story["second"] = {name: served.made(f"train@{name}") for name in ("toy", "own")}
    with ExitStack() as stack:
        pids = served.serve(stack, INTERVAL)
        served.home.write(lambda content: content["runs"]["own"]["train"].update(steps=4000))
        wait_for(lambda: "/4000" in served.home.log("serve"), "a long training")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        story["killed"] = time.time()
    served.home.write(lambda content: content["runs"]["own"]["train"].update(steps=4))
    wait_for(lambda: time.time() > story["killed"] + 4 * INTERVAL, "some runs to be missed")
    with ExitStack() as stack:
        story["back"] = time.time()
        served.serve(stack, WEEK)  # so that no other run becomes due
        wait_for(lambda: served.completed(story["back"]), "the missed run to be made up for")
        wait_for(lambda: all(run["type"] in ("COMPLETED", "CANCELLED", "CRASHED") for run in served.runs()), "the rest")
        story["runs"] = served.runs()
    return story


def test_scheduled_runs_complete_and_new_images_retrain_their_run_alone(interrupted: dict[str, Any]) -> None:
    assert interrupted["first"] == {"toy": 1, "own": 1}
    assert interrupted["second"] == {"toy": 1, "own": 2}


def test_of_the_missed_runs_the_last_one_alone_is_made_up_for(interrupted: dict[str, Any]) -> None:
    missed = [run for run in interrupted["runs"] if run["due"] > interrupted["killed"]]
    assert len(missed) >= 3
    assert missed[-1]["state"] == "Completed"
    assert {run["state"] for run in missed[:-1]} == {"Cancelled"}
    assert all("superseded by the run scheduled for" in run["message"] for run in missed[:-1])


def test_the_run_that_was_killed_is_known_to_be_dead(interrupted: dict[str, Any]) -> None:
    killed = [run for run in interrupted["runs"] if run["message"] == "its process was killed"]
    assert {run["state"] for run in killed} == {"Crashed"}
    assert min(run["start"] for run in killed) < interrupted["killed"]


def test_two_runs_never_overlap(interrupted: dict[str, Any]) -> None:
    """Those that did some work, by the server's times; it learns late of the end of what was killed."""
    runs = [run for run in interrupted["runs"] if run["type"] in ("COMPLETED", "CRASHED") and run["start"]]
    ends = [min(run["end"], interrupted["killed"]) if run["type"] == "CRASHED" else run["end"] for run in runs]
    times = sorted(zip((run["start"] for run in runs), ends, strict=True))
    assert len(times) >= 4
    assert all(end <= start for (_, end), (start, _) in pairwise(times))
