"""gc in a project with real stages and three registered versions: what must stay stays, and something really goes."""

import re

import pytest
from workbench import make_project, run, toy_params, write_params

pytestmark = pytest.mark.slow

LOAD = """
from components.registry import model_registry as registry
from components.registry.record.lineage import lineage
from components.registry.tracking import connect
client = connect()
for alias, number in registry.aliases(client, "toy").items():
    registry.load(client, "toy", number)
    print(alias, number)
for version in registry.versions(client, "toy"):
    print("version", version.version, lineage(client, version))
"""
DROP = """
from components.registry import model_registry as registry
from components.registry.tracking import connect
client = connect()
registry.set_alias(client, "toy", "champion", 1)
client.delete_model_version("toy", "2")
"""


@pytest.fixture
def project(tmp_path):
    """Versions 1 to 3, of which the second was deleted by hand; version 1 is the champion and 3 the candidate."""
    folder = make_project(tmp_path / "project", toy_params(steps=5, ema_decay=0.3))
    for learning_rate in (1e-3, 2e-3, 3e-3):
        write_params(folder, toy_params(steps=5, ema_decay=0.3, learning_rate=learning_rate))
        run("dvc", "repro", cwd=folder)
    run("python", "-c", DROP, cwd=folder)
    return folder


def objects(folder):
    return {path.parent.name + path.name for path in (folder / ".dvc/cache/files/md5").glob("??/*")}


def weights(text):
    """The hash of outputs/train/toy/weights.pt by version."""
    found = re.findall(r"version (\d) .*?'path': 'outputs/train/toy/weights.pt', 'hash': 'md5', 'md5': '(\w+)'", text)
    return dict(found)


def test_gc_keeps_what_versions_need_and_frees_the_rest(project):
    before, known = objects(project), weights(run("python", "-c", LOAD, cwd=project).stdout)
    assert known.keys() == {"1", "3"}
    assert set(known.values()) <= before

    listed = run("python", "-m", "flows", "gc", "--dry-run", "--older-than", "0", cwd=project).stdout
    assert objects(project) == before
    removed = run("python", "-m", "flows", "gc", "--older-than", "0", cwd=project).stdout
    assert removed.replace("removed", "would go") == listed
    print(removed)

    gone = before - objects(project)
    assert gone  # the weights of version 2, and evaluations of old models
    assert not gone & set(known.values())
    assert "MLflow model m-" in removed
    loaded = run("python", "-c", LOAD, cwd=project).stdout
    assert {"champion 1", "candidate 3"} <= set(loaded.splitlines())
    assert weights(loaded) == known
    assert "up to date" in run("dvc", "repro", cwd=project).stdout
    assert run("python", "-m", "flows", "doctor", cwd=project).stdout.endswith("checks, nothing found\n")
    assert run("python", "-m", "flows", "gc", "--older-than", "0", cwd=project).stdout == "0 things, 0 B, removed\n"

    # Version 1 again: its weights come out of the cache.
    write_params(project, toy_params(steps=5, ema_decay=0.3, learning_rate=1e-3))
    said = run("dvc", "repro", "export@toy", cwd=project).stdout
    assert "Stage 'train@toy' is cached" in said
    assert "Running stage" not in said
