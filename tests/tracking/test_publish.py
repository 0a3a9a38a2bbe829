"""publish: once, whatever happens."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest

from components.core import settings
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.record.dvc_lock import export_key
from components.registry.record.published import published, store
from components.registry.tracking import Server, TrackingUnavailable, publish

# Publishes its arguments, each in a process of its own, all at the same moment.
RACE = """
import os, sys
from components.core.settings import Workspace
from components.registry.tracking import prepare_environment, publish
prepare_environment()
import mlflow.pyfunc

def one(run):
    try:
        publish(Workspace("."), run)
    except BaseException as error:
        os.write(2, f"{run}: {error!r}".encode())
    finally:
        os._exit(0)

for child in [os.fork() or one(run) for run in sys.argv[1:]]:
    os.waitpid(child, 0)
"""


def server(home) -> Server:
    return Server.of(home.workspace)


def parents_and_children(home) -> tuple[list, list]:
    runs = server(home).client.search_runs([server(home).experiment])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run for run in runs if run not in children], children


def census(home) -> tuple[int, int, int, int]:
    """(runs, child runs, models, versions): what a registry holds."""
    parents, children = parents_and_children(home)
    client = server(home).client
    models = client.search_logged_models([server(home).experiment])
    return len(parents), len(children), len(models), len(registry.versions(client, "study.small"))


def race(home, environment, *runs: str) -> str:
    """What the processes complain of."""
    command = [sys.executable, "-c", RACE, *runs]
    done = subprocess.run(command, cwd=home.folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr


def test_everything_is_recorded(home):
    found = publish(home.workspace, "small")
    client, (parents, children) = server(home).client, parents_and_children(home)
    run = parents[0]
    assert (run.info.run_id, run.info.status, run.info.run_name) == (found.run_id, "FINISHED", "small")
    expected = {"recipe": "classification", "view": "digits", "model.name": "resnet18", "model.width": "8", "train.steps": "20"}
    assert run.data.params == {**expected, "train.learning_rate": "0.001", "train.augment.flip": "[0.5, 1]"}
    points = {
        (n, m.step, m.value) for n in ("train.accuracy", "train.loss") for m in client.get_metric_history(found.run_id, n)
    }
    assert points == {("train.loss", 10, 1.5), ("train.loss", 20, 0.33333333), ("train.accuracy", 20, 0.75)}
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("digits", "d" * 36)
    tags = {"key": found.key, "study": "study", "recipe": "classification", "view": "digits", "view_digest": "d" * 64}
    assert tags.items() <= {name.removeprefix("darkroom."): value for name, value in run.data.tags.items()}.items()
    assert {file.path for place in ("view", "train", "export") for file in client.list_artifacts(found.run_id, place)} == {
        "view/contact.png",
        "train/curves.csv",
        "export/parity.json",
    }
    (child,) = children
    evaluation = {"evaluate.split": "test", "evaluate.calibration_bins": "15"}
    evaluation |= {"evaluate.threshold": "0.5", "evaluate.tpr_at_fpr": "null"}
    assert (child.data.metrics, child.info.status) == ({"accuracy": 0.875, "calibration_error": 0.01}, "FINISHED")
    assert (child.data.tags["better.calibration_error"], child.data.params) == ("min", evaluation)
    assert {file.path for file in client.list_artifacts(child.info.run_id, "report")} == {
        "report/per_class.csv",
        "report/report.json",
    }


def test_the_run_itself_has_the_test_figures_and_training_figures_have_other_names(home):
    """Tables of runs sort by them: the accuracy of the last training batches is no accuracy."""
    found = publish(home.workspace, "small")
    metrics = server(home).client.get_run(found.run_id).data.metrics
    assert {name: metrics[name] for name in ("accuracy", "train.accuracy")} == {"accuracy": 0.875, "train.accuracy": 0.75}
    assert "loss" not in metrics
    for accuracy in (0.5, 0.875, 0.875):
        home.evaluation(accuracy)
        publish(home.workspace, "small")
        assert server(home).client.get_run(found.run_id).data.metrics["accuracy"] == accuracy
    assert len(server(home).client.get_metric_history(found.run_id, "accuracy")) == 3, "the same value is logged once"


def test_a_run_of_an_earlier_version_shows_the_test_figure(home):
    """Its training curve has the figure's bare name and ends at step 20."""
    found = publish(home.workspace, "small")
    server(home).add_points(found.run_id, {("accuracy", 10): 0.9, ("accuracy", 20): 0.995}, 1000)
    assert server(home).client.get_run(found.run_id).data.metrics["accuracy"] == 0.995
    publish(home.workspace, "small")
    assert server(home).client.get_run(found.run_id).data.metrics["accuracy"] == 0.875


def test_parameters_have_defaults_and_what_auto_became(home):
    train = {"steps": 20, "learning_rate": 0.001, "precision": "bf16", "warmup": 0, "device": "cuda", "stopped_at": 12}
    settings_file = {"model": {"name": "resnet18", "width": 8, "dropout": 0.0}, "train": train | {"betas": [0.9, 0.99]}}
    home.write("outputs/train/small/settings.json", json.dumps(settings_file))
    text = (home.folder / "params.yaml").read_text()
    home.write("params.yaml", text.replace("{steps: 20,", "{steps: 20, precision: auto,"))
    params = server(home).client.get_run(publish(Workspace(home.folder), "small").run_id).data.params
    expected = {"model.dropout": "0.0", "train.warmup": "0", "train.betas": "[0.9, 0.99]", "train.steps": "20"}
    expected |= {
        "train.precision": "auto",
        "resolved.precision": "bf16",
        "resolved.device": "cuda",
        "resolved.stopped_at": "12",
    }
    assert expected.items() <= params.items()
    assert {"train.device", "resolved.steps"}.isdisjoint(params)


def test_the_version_knows_its_run_its_key_and_its_metrics(home):
    found = publish(home.workspace, "small")
    client = server(home).client
    version = registry.aliased(client, "study.small", "candidate")
    assert (int(version.version), version.run_id, version.tags["darkroom.key"]) == (1, found.run_id, found.key)
    assert version.tags["metric.accuracy"] == "0.875"
    model = client.get_logged_model(registry.model_id(version))
    assert {metric.key: metric.value for metric in model.metrics} == {"accuracy": 0.875, "calibration_error": 0.01}
    assert [output.model_id for output in client.get_run(found.run_id).outputs.model_outputs] == [model.model_id]


def test_again_changes_nothing(home):
    first = publish(home.workspace, "small")
    assert publish(home.workspace, "small") == first == published(home.workspace, "small")
    assert census(home) == (1, 1, 1, 1)
    assert len(server(home).client.get_metric_history(first.run_id, "train.loss")) == 2


@pytest.mark.slow
def test_processes_at_once_on_a_fresh_home_make_every_run_once(bare_home, environment):
    params, lock = ((bare_home.folder / name).read_text() for name in ("params.yaml", "dvc.lock"))
    block = params[params.index("  small:\n") :]
    entry = lock[lock.index("  export@small:\n") : lock.index("  export@small_too:\n")]
    bare_home.write("params.yaml", params + block.replace("small", "other"))
    bare_home.write("dvc.lock", lock + entry.replace("small", "other"))
    for stage in ("train", "export", "evaluate"):
        (bare_home.folder / "outputs" / stage / "other").symlink_to("small")
    assert race(bare_home, environment, "small", "other", "small", "small") == ""
    assert census(bare_home) == (2, 2, 2, 1)
    assert len(registry.versions(server(bare_home).client, "study.other")) == 1


def test_a_deleted_work_folder_is_rebuilt_once(home, fresh_store):
    before = publish(home.workspace, "small")
    fresh_store()
    assert published(home.workspace, "small") is None
    after = publish(home.workspace, "small")
    assert (after.key, after.evaluation, after.version) == (before.key, before.evaluation, 1)
    assert census(home) == (1, 1, 1, 1)
    assert registry.load(server(home).client, "study.small", 1).metadata.signature is not None


WRITES = ["create_run", "log_batch", "log_inputs", "log_artifact", "log_artifacts", "set_terminated", "create_logged_model"]
WRITES += ["log_outputs", "log_model_artifacts", "finalize_logged_model", "create_registered_model", "create_model_version"]
WRITES += ["set_model_version_tag", "set_registered_model_alias"]


class Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_after_any_step_the_next_call_completes_the_same_run(home, monkeypatch: pytest.MonkeyPatch):
    from mlflow import MlflowClient

    survived: set[tuple[str, int]] = set()

    def lethal(name: str, method):
        def call(*arguments, **options):
            result = method(*arguments, **options)
            step = (name, sys._getframe(1).f_lineno)
            if step not in survived:
                survived.add(step)
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, lethal(name, getattr(MlflowClient, name)))
        for _ in range(40):
            with contextlib.suppress(Killed):
                publish(home.workspace, "small")
                break
    assert {name for name, _ in survived} == set(WRITES)
    assert len(survived) > len(WRITES)
    assert census(home) == (1, 1, 1, 1)
    found = publish(home.workspace, "small")
    client = server(home).client
    assert len(client.get_metric_history(found.run_id, "train.loss")) == 2
    (child,) = parents_and_children(home)[1]
    assert [len(client.get_metric_history(child.info.run_id, n)) for n in ("accuracy", "calibration_error")] == [1, 1]
    assert len(client.get_run(found.run_id).outputs.model_outputs) == 1
    assert len(client.get_run(found.run_id).inputs.dataset_inputs) == 1
    assert registry.load(client, "study.small", 1).metadata.run_id == found.run_id


def test_candidate_follows_the_lock_back_and_forth(home):
    one = publish(home.workspace, "small")
    home.lock("ff")
    two = publish(home.workspace, "small")
    client = server(home).client
    assert (two.version, registry.aliases(client, "study.small")) == (2, {"candidate": 2})
    home.lock("0b")
    assert published(home.workspace, "small") is None
    assert publish(home.workspace, "small") == one
    assert registry.aliases(client, "study.small") == {"candidate": 1}
    assert census(home) == (2, 2, 2, 2)


def test_a_new_evaluation_is_a_second_child_only(home):
    one = publish(home.workspace, "small")
    home.evaluation(0.5)
    two = publish(home.workspace, "small")
    assert (two.run_id, two.version, two.key) == (one.run_id, one.version, one.key)
    assert one.evaluation != two.evaluation
    assert census(home) == (1, 2, 1, 1)
    assert {child.data.metrics["accuracy"] for child in parents_and_children(home)[1]} == {0.875, 0.5}
    assert registry.aliased(server(home).client, "study.small", "candidate").tags["metric.accuracy"] == "0.5"


def test_the_table_of_other_views_is_a_child_of_its_own(home):
    publish(home.workspace, "small")
    home.other_view(0.9)
    assert published(home.workspace, "small") is None
    assert publish(home.workspace, "small", detection=False).detection == ""
    assert published(home.workspace, "small") is None, "the evaluate stage comes before the table"
    for _ in range(2):
        one = publish(home.workspace, "small")
    assert published(home.workspace, "small") == one
    home.other_view(0.8)
    assert publish(home.workspace, "small").detection != one.detection
    tables = [child for child in parents_and_children(home)[1] if "darkroom.detection" in child.data.tags]
    assert sorted(child.data.metrics["vim.far_auroc"] for child in tables) == [0.8, 0.9]
    (file,) = server(home).client.list_artifacts(tables[0].info.run_id, "report")
    assert (file.path, tables[0].info.status) == ("report/ood.csv", "FINISHED")


def test_latency_is_noted_for_its_own_export_only(home):
    path = settings.WORK / "latency" / "study.small.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"export": "another", "latency_p50_ms": 1.0}))
    publish(home.workspace, "small")
    assert "latency_p50_ms" not in parents_and_children(home)[1][0].data.metrics
    path.write_text(json.dumps({"export": export_key(home.workspace, "small"), "latency_p50_ms": 2.0}))
    for _ in range(2):
        publish(home.workspace, "small")
    (child,) = parents_and_children(home)[1]
    assert [m.value for m in server(home).client.get_metric_history(child.info.run_id, "latency_p50_ms")] == [2.0]


def test_of_two_runs_with_the_key_the_oldest_counts(home):
    from components.registry.record.recording import KEY, NAME

    name = {NAME: "study.small", KEY: export_key(home.workspace, "small")}
    first = server(home).client.create_run(server(home).experiment, start_time=1000, tags=name)
    server(home).create("later", name)
    assert publish(home.workspace, "small").run_id == first.info.run_id


def test_an_unreachable_server_is_said_soon(home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(TrackingUnavailable, match=r"http://127\.0\.0\.1:9 is not available"):
        publish(home.workspace, "small")
    assert time.monotonic() - start < 10
    assert published(home.workspace, "small") is None


def test_missing_outs_are_named_before_anything_is_recorded(home):
    (home.folder / "outputs/train/small").rename(home.folder / "away")
    with pytest.raises(ValueError, match=r"outputs/train/small: no such folder; `dvc repro"):
        publish(home.workspace, "small")
    assert census(home)[0] == 0


def test_the_tracking_address_does_not_leak_into_the_environment(home):
    publish(home.workspace, "small")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert not (home.folder / "mlflow.db").exists()
    assert str(store()) in server(home).client.tracking_uri
