"""What doctor repairs, and gc removes, at the tracking server: only what is dead, and only what nothing refers to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.core.files import identity, this_process
from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry
from components.registry.promotion.journal import MOVING
from components.registry.record.dead import PROCESS
from components.registry.record.published import database, marker
from components.registry.record.recording import FINGERPRINT, LIVE
from components.registry.tracking import Server, publish, published
from flows.project import Project
from flows.upkeep.doctor import CHECKS, Finding, examine, repair
from flows.upkeep.tracking import unreferenced

GONE = identity(2**22 + 1)


@pytest.fixture
def server(home: Any) -> Server:
    """The tracking server, with version 1 of the run, from which the version that fits today's export is another one."""
    publish(home.workspace, "small")
    return Server.of(home.workspace)


def find(home: Any) -> list[Finding]:
    before = database().read_bytes()
    found = examine(Project(home.folder), {"tracking": CHECKS["tracking"]})
    assert database().read_bytes() == before
    return found


def status(server: Server, run: Any) -> str:
    return str(server.client.get_run(run.info.run_id).info.status)


def test_doctor_ends_dead_runs_completes_decisions_and_forgets_what_is_not_there(home: Any, server: Server) -> None:
    assert find(home) == []
    dead = server.create("dead", {PROCESS: GONE})
    living, unknown = server.create("living", {PROCESS: this_process()}), server.create("unknown", {})
    name = home.workspace.registered_name("small")
    entry = Entry("promoted", name, 1, "me", "", before=None, after=1, previous=None)
    server.client.set_registered_model_tag(name, MOVING, entry.to_json())
    found = find(home)
    assert [finding.what for finding in found] == ["dead MLflow run", "interrupted decision"]
    assert [repair(finding) for finding in found] == [None, None]
    assert [status(server, run) for run in (dead, living, unknown)] == ["KILLED", "RUNNING", "RUNNING"]
    assert registry.aliases(server.client, name)["champion"] == 1
    assert find(home) == []

    path = marker(home.workspace, "small")
    path.write_text(path.read_text().replace('"version": 1', '"version": 7'))
    (finding,) = find(home)
    assert "no version 7" in finding.where
    assert repair(finding) is None
    assert find(home) == []
    assert published(home.workspace, "small") is None


def test_gc_removes_what_nothing_refers_to(home: Any, server: Server, work: Path) -> None:
    client, name = server.client, home.workspace.registered_name("small")
    registry.set_alias(client, name, "champion", 1)
    home.lock("0e")  # another export, so another version
    publish(home.workspace, "small")
    assert list(unreferenced(client, 0)) == []

    over = server.create("over", {LIVE: "true", FINGERPRINT: "f", PROCESS: GONE})
    resumable = server.create("resumable", {LIVE: "true", FINGERPRINT: "g", PROCESS: GONE})
    (work / "checkpoints" / "train@small" / "g").mkdir(parents=True)
    living = server.create("living", {LIVE: "true", FINGERPRINT: "h", PROCESS: this_process()})
    deleted, half_gone = server.create("deleted", {}), server.create("half gone", {})
    for run in (deleted, half_gone):
        client.log_text(run.info.run_id, "text", "a/file.txt")
        client.delete_run(run.info.run_id)
    shutil.rmtree(half_gone.info.artifact_uri)  # an earlier gc came no further
    client.delete_run(client.get_model_version(name, "1").run_id)  # by someone's mistake: version 1 still refers to it
    models = [client.create_logged_model(server.experiment, text) for text in ("left", "marked")]
    for model in models:
        client.finalize_logged_model(model.model_id, "READY")
    client.delete_logged_model(models[1].model_id)

    assert list(unreferenced(client, 1)) == []  # all of it is young
    found = list(unreferenced(client, 0))
    wanted = ["over", "deleted", "half gone", *(model.model_id for model in models)]
    assert sorted(wanted, key=str) == sorted((garbage.what.split(" (")[0].split(" ", 2)[2] for garbage in found), key=str)
    for garbage in found:
        garbage.remove()
    assert list(unreferenced(client, 0)) == []
    assert not Path(deleted.info.artifact_uri).exists()
    assert {run.info.run_name for run in registry.all_runs(client, [server.experiment])} >= {"resumable", "living", "small"}
    assert status(server, living) == status(server, resumable) == "RUNNING"
    assert over.info.run_id not in {run.info.run_id for run in registry.all_runs(client, [server.experiment])}
    for version in (1, 2):  # champion and candidate
        assert registry.load(client, name, version) is not None
