"""From a version back to what made it: kept at publish, shown by the commands."""

import json

from components.core import settings
from components.core.dvc_lock import parse_stages, split
from components.core.settings import ROOT, Workspace
from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry
from components.registry.promotion.journal import decide
from components.registry.record.clearing import purge_run
from components.registry.record.lineage import carried, chain, lineage, registered_lineages
from components.registry.record.published import marker
from components.registry.tracking import connect, publish
from flows.cli.status import describe, standings
from flows.project import Project
from flows.upkeep.tracking import lineage_hashes

LOCK = """\
schema: '2.0'
stages:
  augment@v:
    cmd: a
    deps:
    - path: outputs/datasets/d
      md5: d1.dir
    outs:
    - path: outputs/views/v
      md5: v1.dir
  evaluate@a:
    cmd: e
    deps:
    - path: outputs/export/a
      md5: x1.dir
  export@a:
    cmd: x
    deps:
    - path: outputs/train/a/weights.pt
      md5: w1
    outs:
    - path: outputs/export/a
      md5: x1.dir
  export@b:
    cmd: x
    outs:
    - path: outputs/export/b
      md5: x2.dir
  fetch@d:
    cmd: f
    deps:
    - path: pictures
      md5: p1.dir
    outs:
    - path: outputs/datasets/d
      md5: d1.dir
  fetch@d_too:
    cmd: f
    outs:
    - path: outputs/datasets/d_too
      md5: d2.dir
  link@teacher:
    cmd: l
    deps:
    - path: outputs/export/b
      md5: x2.dir
    - path: outputs/links/a/train/run
      md5: r1
    outs:
    - path: outputs/links/a/train/teacher
      md5: t1
  train@a:
    cmd: t
    deps:
    - path: outputs/links/a/train
      md5: l1.dir
    - path: outputs/views/v
      md5: v1.dir
    outs:
    - path: outputs/train/a/weights.pt
      md5: w1
  wire@a:
    cmd: w
    outs:
    - path: outputs/links/a/train/run
      md5: r1
"""


def test_the_chain_holds_what_leads_to_the_export_through_links_too(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    found = parse_stages(chain(Workspace(tmp_path), "a"))
    assert list(found) == ["augment@v", "export@a", "export@b", "fetch@d", "link@teacher", "train@a", "wire@a"]
    assert found["link@teacher"]["outs"] == [{"path": "outputs/links/a/train/teacher", "md5": "t1"}]


def test_the_chain_does_not_depend_on_the_order_of_the_lock(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    whole = chain(Workspace(tmp_path), "a")
    blocks = []
    for line in LOCK.splitlines(keepends=True)[2:]:
        if line.startswith("  ") and line[2] != " ":
            blocks.append("")
        blocks[-1] += line
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + "".join(reversed(blocks)))
    assert chain(Workspace(tmp_path), "a") == whole


def test_a_proof_belongs_to_the_result_that_it_was_made_for(tmp_path):
    """A run that was carried over and trained again later has a result of today's code, which no proof is about."""
    proofs = [{"stage": "train@a", "weights": "w0"}, {"stage": "train@a", "weights": "w1"}]
    proofs += [{"stage": "train@elsewhere", "weights": "w1"}, {"stage": "train@a"}]
    (tmp_path / "carried.json").write_text(json.dumps(proofs))
    (tmp_path / "dvc.lock").write_text(LOCK)
    assert carried(Workspace(tmp_path), "a") == [proofs[1]]


def test_every_proof_of_this_repository_is_of_a_result_that_stands_in_its_lock():
    for path in (ROOT / "carried.json", *ROOT.glob("experiments/*/carried.json")):
        stages = parse_stages((path.parent / "dvc.lock").read_text())
        for proof in json.loads(path.read_text()):
            assert proof["weights"] in {out["md5"] for out in stages[proof["stage"]]["outs"]}, f"{path}: {proof['stage']}"


def test_every_run_of_this_repository_leads_back_to_a_dataset():
    workspace = Workspace(ROOT)
    for run in workspace.params.runs:
        kinds = [stage.partition("@")[0] for stage in split(chain(workspace, run)) or ()]
        assert {"fetch", "augment", "wire", "train", "export"} <= set(kinds)
        assert "evaluate" not in kinds


def test_it_is_kept_with_the_run_and_read_back(home):
    publish(home.workspace, "small")
    client = connect()
    (version,) = registry.versions(client, "study.small")
    kept = lineage(client, version)
    assert list(kept) == ["export@small", "train@small"]
    assert kept["export@small"]["deps"][0]["md5"] == "0b"
    assert list(registered_lineages(client)) == [("study.small", 1, kept)]
    client.delete_run(version.run_id)
    assert lineage(client, version) == kept, "a deleted run can be restored, and gc must keep its data"


def test_another_run_of_the_same_export_has_it_and_without_one_gc_is_told(home):
    publish(home.workspace, "small")
    client = connect()
    (version,) = registry.versions(client, "study.small")
    kept = lineage(client, version)
    client.delete_run(version.run_id)
    purge_run(client, client.get_run(version.run_id))
    assert lineage(client, version) is None
    assert lineage_hashes(client) == (set(), ["study.small version 1"])
    marker(home.workspace, "small").unlink()
    publish(home.workspace, "small")  # a second run, the same version
    (again,) = registry.versions(client, "study.small")
    assert again.run_id == version.run_id
    assert lineage(client, again) == kept
    assert lineage_hashes(client)[1] == []


def test_the_commands_tell_where_the_champion_comes_from(home, monkeypatch):
    project = Project(home.folder)
    monkeypatch.setattr(Project, "workspace", home.workspace)
    (row,), notes = standings(project)
    assert (row["champion"], row["candidate"], notes) == ("not published", "", [])
    publish(home.workspace, "small")
    (row,), notes = standings(project)
    assert (row["champion"], row["candidate"], notes) == ("never promoted", "version 1", [])
    decide(connect(), Entry("promoted", "study.small", 1, "ada", "good", before=None, after=1, previous=None))
    (row,), notes = standings(project)
    assert (row["champion"], row["data"], row["metric"], notes) == ("version 1", "d" * 8, "accuracy 0.875", [])
    told = describe(project, "small", "champion")
    assert "study.small version 1 (candidate, champion)" in told
    assert "train.steps 20" in [" ".join(line.split()) for line in told["parameters"]]
    assert any(line.split() == ["export@small", "out", "0c.dir", "outputs/export/small"] for line in told["data and results"])
    (decision,) = told["decisions"]
    assert decision.endswith("promoted by ada; champion none -> 1; good")


def test_status_without_a_database_makes_none(bare_home, monkeypatch):
    monkeypatch.setattr(Project, "workspace", bare_home.workspace)
    (row,), _ = standings(Project(bare_home.folder))
    assert row["champion"] == "not published"
    assert not settings.WORK.exists()
