"""Planning and recording at scale: workspaces of 30 to 1,000 stages whose results are small files, in CPU seconds."""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench import make_project, run, toy_params

SIZES = (30, 120, 480, 1000)  # stages
PER_RUN = 5  # stages of a run with a view of its own: augment, wire, train, export, evaluate

# Stands in for the stages: writes a small file for each out, then records the stage as DVC does.
FINISH = """
import json, sys
from pathlib import Path
from dvc.dvcfile import load_file
from dvc.repo import Repo, lock_repo
from dvc.stage.serialize import to_single_stage_lockfile
from components.core.inputs.record import inputs_of, record_path, serialise
from components.core.settings import Workspace
from components.registry.record import published
from components.registry.record.dvc_lock import export_key
from components.stages.code.stage import contents
from flows.dvc.index import _unrecorded_index
from flows.dvc import entries

workspace = Workspace(Path.cwd())
for name, text in contents(workspace).items():
    path = Path("outputs/code") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
with Repo(".") as repo, lock_repo(repo):
    entries.install()
    index = _unrecorded_index(repo, str(Path("dvc.yaml").resolve()), ())
    lines = []
    from networkx import topological_sort
    for stage in topological_sort(index.graph.reverse()):
        stage.save_deps()
        for out in stage.outs:
            path, record = Path(out.fs_path), record_path(stage.name)
            if out.def_path == "outputs/code":
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if out.def_path == record:
                path.write_bytes(serialise(*inputs_of(to_single_stage_lockfile(stage))))
            elif path.suffix:
                path.write_text(json.dumps({"accuracy": 0.5, "stage": stage.name}))
            else:
                (path / "samples").mkdir(parents=True, exist_ok=True)
                for number in range(4):
                    (path / "samples" / f"{number}.txt").write_text(f"{stage.name} {number}")
        stage.save_outs()
        stage.commit()
        from dvc.utils.serialize import dumps_yaml
        from dvc.stage.serialize import to_lockfile
        lines.append(dumps_yaml({"stages": to_lockfile(stage)}).removeprefix("stages:\\n"))
    from components.core.dvc_lock import HEAD
    Path("dvc.lock").write_text(HEAD + "".join(lines))
published.store().mkdir(parents=True, exist_ok=True)
(published.store() / "mlflow.db").touch()
for name in workspace.params.runs:
    key, evaluation = export_key(workspace, name), published.evaluation_key(workspace, name)
    published.note_published(workspace, name, published.Publication(key, evaluation, published.shown_uri(), 1, "r"))
"""


def make_workspace(folder: Path, stages: int) -> Path:
    """Make a project with about ``stages`` stages, none of which ever ran."""
    params = toy_params()
    view, block = params["views"].pop("turned"), params["runs"].pop("toy")
    params |= {"links": {}, "views": {}, "runs": {}}
    for number in range(max(1, stages // PER_RUN)):
        params["views"][f"view{number}"] = view
        params["runs"][f"run{number}"] = block | {"view": f"view{number}"}
    params["pipeline"] = {"runs": list(params["runs"])}
    return make_project(folder, params)


def finish(folder: Path) -> None:
    """Let every stage be up to date and every run published."""
    run(sys.executable, "-c", FINISH, cwd=folder, **_home(folder))


# CPU seconds of the DVC process that runs and records one stage, without those of the stage's own process.
RECORD = """
import resource, sys
from flows.dvc.entries import main
sys.argv = ["dvc", "repro", "-f", "-s", "wire@run0"]
code = main()
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
sys.exit(code)
"""


def cpu_seconds(folder: Path, *words: str) -> float:
    """Return the CPU seconds (user and system) of a Python program with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(sys.executable, *words, cwd=folder, **_home(folder))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recording(folder: Path) -> float:
    """Return the CPU seconds of DVC for the run and the record of one stage."""
    return float(run(sys.executable, "-c", RECORD, cwd=folder, **_home(folder)).stdout.splitlines()[-1])


def bench_planning(ratio: object) -> Iterator[str]:
    """CPU seconds. Other work on the machine makes them larger, never smaller."""
    for stages in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = make_workspace(Path(scratch) / "project", stages)
            checked, new = (cpu_seconds(folder, "-m", "flows", "plan") for _ in range(2))
            finish(folder)
            first, again = (cpu_seconds(folder, "-m", "flows", "run") for _ in range(2))
            noop = min(again, cpu_seconds(folder, "-m", "flows", "run"))
            record = min(recording(folder) for _ in range(2))
        yield f"{stages} stages: plan, nothing ever run {new:.2f} s, with all settings checked anew {checked:.2f} s; " + (
            f"nothing to do {noop:.2f} s, the first time {first:.2f} s; record of a stage {record:.2f} s"
        )


def _home(folder: Path) -> dict[str, str]:
    return {"DARKROOM_WORK": str(folder / ".work"), "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}
