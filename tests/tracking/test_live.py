"""Live curves: they reach the run that publish adopts, once each, and never stand in the way of the training."""

import logging
import signal
import socket
import subprocess
import sys
import time

import pytest

from components.core.files import this_process
from components.registry.record import live
from components.registry.tracking import Server, live_curves, publish
from components.stages.train.loop import IMAGES_PER_SECOND

POINTS = {10: {"loss": 1.5}, 20: {"loss": 1 / 3, "accuracy": 0.75}}  # what curves.csv of the workspace holds, rounded


class Stopped(Exception):
    """What a training loop raises after SIGTERM."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "PAUSE", 0.01)


def train(home, fingerprint: str = "f", steps=(10, 20), error: BaseException | None = None):
    with live_curves(home.workspace, "small", fingerprint, killed=(Stopped,)) as log:
        for step in steps:
            log(step, POINTS[step])
        if error:
            raise error


def runs(home) -> list:
    server = Server.of(home.workspace)
    return [run for run in server.runs({"darkroom.name": "study.small"}) if "mlflow.parentRunId" not in run.data.tags]


def history(home, run_id: str) -> set[tuple[str, int, float]]:
    client = Server.of(home.workspace).client
    points = [
        (name, m.step, round(m.value, 6))
        for name in ("train.loss", "train.accuracy")
        for m in client.get_metric_history(run_id, name)
    ]
    assert len(points) == len(set(points)), "a point was logged twice"
    return set(points)


ALL = {("train.loss", 10, 1.5), ("train.loss", 20, 0.333333), ("train.accuracy", 20, 0.75)}


def test_publish_adopts_the_live_run_and_logs_nothing_twice(home):
    train(home)
    (run,) = runs(home)
    assert (run.info.status, history(home, run.info.run_id)) == ("FINISHED", ALL)
    assert publish(home.workspace, "small").run_id == run.info.run_id
    (adopted,) = runs(home)
    assert adopted.data.tags["darkroom.live"] == "adopted"
    assert history(home, run.info.run_id) == ALL
    assert (adopted.info.status, adopted.data.tags["darkroom.fingerprint"], adopted.data.params["recipe"]) == (
        "FINISHED",
        "f",
        "classification",
    )


def test_points_arrive_while_the_training_goes_on(home):
    with live_curves(home.workspace, "small", "f") as log:
        log(10, POINTS[10])
        deadline = time.monotonic() + 10
        while not (found := runs(home)) or not history(home, found[0].info.run_id):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found[0].info.status == "RUNNING"


def test_publish_completes_what_live_logging_missed(home):
    with pytest.raises(Stopped):
        train(home, steps=[10], error=Stopped())
    (run,) = runs(home)  # and the rest came out of DVC's cache
    assert publish(home.workspace, "small").run_id == run.info.run_id
    assert history(home, run.info.run_id) == ALL
    assert runs(home)[0].info.status == "FINISHED"


def test_a_stopped_training_continues_its_run(home):
    with pytest.raises(Stopped):
        train(home, steps=[10], error=Stopped())
    (stopped,) = runs(home)
    assert stopped.info.status == "KILLED"
    train(home)  # from a checkpoint before step 10
    (run,) = runs(home)
    assert (run.info.run_id, run.info.status) == (stopped.info.run_id, "FINISHED")
    assert history(home, run.info.run_id) == ALL


def test_a_failed_training_says_so(home):
    with pytest.raises(ZeroDivisionError):
        train(home, error=ZeroDivisionError())
    assert runs(home)[0].info.status == "FAILED"


def test_a_repeated_training_leaves_no_second_run(home):
    first = publish(home.workspace, "small")
    train(home)
    assert len(runs(home)) == 2
    assert publish(home.workspace, "small") == first
    assert [run.info.run_id for run in runs(home)] == [first.run_id]


def test_the_live_run_of_another_training_is_left_alone(home):
    with live_curves(home.workspace, "small", "other") as log:
        log(10, {"loss": 1.4})
    publish(home.workspace, "small")
    other, own = sorted(runs(home), key=lambda run: "darkroom.key" in run.data.tags)
    assert (other.data.tags["darkroom.fingerprint"], "darkroom.fingerprint" in own.data.tags) == ("other", False)


def test_the_speed_is_logged_and_does_not_hinder_the_adoption(home):
    with live_curves(home.workspace, "small", "f") as log:
        for step, point in POINTS.items():
            log(step, {**point, IMAGES_PER_SECOND: 100.0 + step})
    found = publish(home.workspace, "small")
    (run,) = runs(home)
    assert (run.info.run_id, run.data.metrics[IMAGES_PER_SECOND]) == (found.run_id, 120.0)
    assert run.data.tags["darkroom.fingerprint"] == "f"


def test_a_live_run_of_an_earlier_version_is_adopted(home):
    server = Server.of(home.workspace)
    run = server.create("small", {"darkroom.name": "study.small", "darkroom.live": "true", "darkroom.fingerprint": "g"})
    server.add_points(run.info.run_id, {("loss", 10): 1.5}, 1000)
    server.client.set_terminated(run.info.run_id, "KILLED")
    assert publish(home.workspace, "small").run_id == run.info.run_id


def test_validation_figures_keep_their_names(home):
    with live_curves(home.workspace, "small", "f") as log:
        log(5, {"validation.accuracy": 0.5})
    assert runs(home)[0].data.metrics == {"validation.accuracy": 0.5}


def test_a_training_that_goes_on_elsewhere_is_left_alone(home):
    server = Server.of(home.workspace)
    run = server.create("small", {"darkroom.name": "study.small", "darkroom.live": "true", "darkroom.fingerprint": "g"})
    server.add_points(run.info.run_id, {("train.loss", 10): 1.5}, 1000)  # the beginning of our curve
    assert publish(home.workspace, "small").run_id != run.info.run_id


def test_sigterm_ends_the_run_as_killed(home, environment):
    code = (
        "import time; from components.core.settings import Workspace; from components.registry.tracking import live_curves\n"
        "with live_curves(Workspace('.'), 'small', 'f') as log:\n"
        "    log(10, {'loss': 1.5}); print('started', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=home.folder, env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not runs(home):  # the last points of a slow server are given up after a while
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    (run,) = runs(home)
    assert (run.info.status, history(home, run.info.run_id)) == ("KILLED", {("train.loss", 10, 1.5)})


def test_an_unreachable_server_is_one_warning(home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    caplog.set_level(logging.WARNING, "components")
    train(home)
    (record,) = [record for record in caplog.records if record.name.startswith("components")]
    assert record.getMessage().startswith("live curves of small stop, the training goes on: ")
    assert "\n" not in record.getMessage()


def test_a_server_that_does_not_answer_delays_nothing(home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setitem(live.PATIENCE, "FINISHED", 0.2)
        start = time.monotonic()
        with live_curves(home.workspace, "small", "f") as log:
            for step in range(1000):
                log(step, {"loss": 1.0})
            assert time.monotonic() - start < 0.5
        assert time.monotonic() - start < 1.5
    assert "the last points are left to publish" in caplog.text


@pytest.mark.parametrize(
    ("mark", "status"), [("{here}:4194304:1", "KILLED"), ("{this}", "RUNNING"), ("elsewhere:4194304:1", "RUNNING")]
)
def test_publish_ends_the_runs_of_processes_that_are_gone(home, mark, status):
    """A pid that no process has (Linux gives none above 4194304), one that lives, and one of another machine."""
    server = Server.of(home.workspace)
    mark = mark.format(here=socket.gethostname(), this=this_process())
    other = server.create("other", {"darkroom.name": "study.other", "darkroom.live": "true", "darkroom.process": mark})
    publish(home.workspace, "small")
    assert server.client.get_run(other.info.run_id).info.status == status


def test_a_live_run_names_its_process(home):
    train(home)
    (run,) = runs(home)
    assert run.data.tags["darkroom.process"] == this_process()
