"""Accept the result of a training for today's code if both codes compute the same bits in the first steps."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.artifact import content_md5
from components.core.config.strict import SettingsError, read_yaml
from components.core.dvc_lock import LOCK, find_entries, parse_entry
from components.core.files import write_atomically, write_json
from components.core.git import GitFailed, git
from components.core.inputs.record import inputs_of, record_path, serialise
from components.core.settings import PARAMS
from flows.carry import states
from flows.dvc.stored import outs_of
from flows.project import Project, for_children

PROBE = Path(__file__).with_name("probe.py")
PROOFS = "carried.json"  # beside dvc.lock, committed with it
CODE = "outputs/code/"


class Refused(Exception):
    """The result cannot be carried over; the message says why."""


@dataclass(frozen=True)
class Proof:
    """Proof that a training's result is valid for new code.

    ``weights``: DVC's hash of the result, which tells it from a later training's. ``state``: digest of both codes' state after
    ``steps``.
    """

    stage: str
    weights: str
    old_commit: str
    new_commit: str
    steps: int
    state: str
    machine: str
    torch: str
    time: str


def carry(project: Project, run: str, commit: str, steps: int) -> Proof:
    """Run both codes, and record today's dependencies beside the training's old results. Raises Refused or SettingsError.

    Nothing changes unless the two states are bit-identical.
    """
    stage, old = f"train@{run}", resolve(project.root, commit)
    entry = parse_entry(recorded(project.folder, stage))
    refresh_code(project)
    with worktree(project.root, old) as tree, tempfile.TemporaryDirectory(prefix="darkroom-carry-") as name:
        workspace = tree / project.folder.relative_to(project.root)
        if not (workspace / PARAMS).is_file():
            raise Refused(f"commit {old[:12]} has no {project.folder.relative_to(project.root) / PARAMS}")
        check_origin(project, tree, workspace, stage, entry)
        check_settings(project, workspace, run, entry)
        check_data(project, stage, entry)
        link_outputs(project.folder, workspace)
        paths = {"old": Path(name) / "old.pt", "new": Path(name) / "new.pt"}
        probe(project, tree, workspace, (run, steps, paths["old"]), f"the code of {old[:12]}")
        probe(project, project.root, project.folder, (run, steps, paths["new"]), "today's code")
        (done, before), (_, after) = states.load(paths["old"]), states.load(paths["new"])
        if difference := states.first_difference(before, after):
            raise Refused(f"after {done} steps the two codes differ: {difference}")
        weights = outs_of(entry)[f"outputs/train/{run}/weights.pt"]
        proof = Proof(stage, weights, old, describe(project.root), done, states.digest(after), machine(), _torch(), _now())
    accept(project, stage)
    keep(project, proof)
    return proof


def resolve(root: Path, commit: str) -> str:
    """Return the full hash of the commit."""
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    except GitFailed:
        raise SettingsError(f"--from: {commit!r} is no commit of this repository") from None


def describe(root: Path) -> str:
    """Return today's commit, with "+" if files of code differ from it."""
    changes = git(root, "status", "--porcelain", "--untracked-files=no", "--", "components")
    return git(root, "rev-parse", "HEAD").strip() + ("+" if changes else "")


def recorded(folder: Path, stage: str) -> str:
    """Return the stage's lines in the folder's dvc.lock; raise Refused if there are none."""
    path = folder / LOCK
    entries = find_entries(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if stage not in entries:
        raise Refused(f"{path.name} holds no result of {stage}: it was never run")
    return entries[stage]


def check_origin(project: Project, tree: Path, workspace: Path, stage: str, entry: dict[str, Any]) -> None:
    """Raise Refused unless the recorded result was computed by the commit's code: its digest is the recorded one.

    That the commit's dvc.lock has the same entry proves nothing: newer code may be committed beside an older result.
    """
    file = f"{CODE}{stage.replace('@', '/')}.json"
    command = [sys.executable, "-m", "components", "code"]
    environment = for_children(project, PYTHONPATH=str(tree))
    subprocess.run(command, cwd=workspace, env=environment, capture_output=True, check=False)
    digest = next((dep.get("md5") for dep in entry.get("deps", []) if dep["path"] == file), None)
    if digest is None or not (workspace / file).is_file() or content_md5(workspace / file) != digest:
        raise Refused(f"{LOCK}'s result of {stage} was not computed by the code of this commit")


def check_settings(project: Project, workspace: Path, run: str, entry: dict[str, Any]) -> None:
    """Raise Refused unless dvc.lock, the commit and today have the same settings, apart from renamed ones."""
    old, new = read_yaml(workspace / PARAMS), read_yaml(project.folder / PARAMS)
    for key, value in entry.get("params", {}).get(PARAMS, {}).items():
        if _at(old, key) != value:
            raise Refused(f"{key} is {_at(old, key)!r} in the commit's {PARAMS}, and {value!r} in {LOCK}")
        if _renamed(project, run, key, value) != _at(new, key):
            raise Refused(f"{key} was {value!r} and is {_at(new, key)!r}: another training")


def check_data(project: Project, stage: str, entry: dict[str, Any]) -> None:
    """Raise Refused unless today's data are those of the recorded training."""
    from dvc.repo import Repo

    old = {dep["path"]: dep.get("md5") for dep in entry.get("deps", [])}
    with Repo(str(project.root)) as repo:
        for dep in repo.stage.load_one(path=str(project.folder / "dvc.yaml"), name=stage).deps:
            path = str(dep.def_path)
            if path.startswith(CODE) or not path.startswith("outputs/"):
                continue
            if not dep.exists:
                raise Refused(f"{path} is not here; `dvc repro` of the stage that makes it, or `dvc pull`, brings it")
            dep.save()
            if dep.hash_info.value != old.get(path):
                raise Refused(f"{path} is not what the training was recorded with: another training")


def _renamed(project: Project, run: str, key: str, value: Any) -> Any:
    """Return a recorded block with today's names of settings."""
    if not (isinstance(value, dict) and key == f"runs.{run}.train"):
        return value
    cls = type(project.workspace.run(run).train)
    names: dict[str, str] = {old: new for base in cls.__mro__ for old, new in getattr(base, "renamed", {}).items()}
    return {names.get(name, name): setting for name, setting in value.items()}


def link_outputs(folder: Path, workspace: Path) -> None:
    """Link today's data into the old code's workspace; what it writes stays there."""
    shutil.rmtree(workspace / "outputs", ignore_errors=True)
    for kind in ("datasets", "views", "links", "train", "export"):
        if (folder / "outputs" / kind).is_dir():
            (workspace / "outputs").mkdir(exist_ok=True)
            (workspace / "outputs" / kind).symlink_to(folder / "outputs" / kind, target_is_directory=True)


def probe(project: Project, code: Path, folder: Path, arguments: tuple[str, int, Path], who: str) -> None:
    """Run the first steps with the code in ``code``. Raise Refused, with the last line of output, if it fails."""
    with tempfile.TemporaryDirectory(prefix="darkroom-work-") as work:
        environment = for_children(project, PYTHONPATH=str(code), DARKROOM_WORK=work)
        command = [sys.executable, "-P", str(PROBE), *map(str, arguments)]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not arguments[-1].is_file():
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise Refused(f"{who} does not run on today's data: {lines[-1] if lines else f'exit code {result.returncode}'}")


def refresh_code(project: Project) -> None:
    """Run the stage ``code``, which writes today's digests."""
    from flows.dvc.entries import PROGRAM

    command = [sys.executable, "-P", str(PROGRAM), "--wait-for-lock", "repro", "-s", "code"]
    result = subprocess.run(command, cwd=project.folder, env=for_children(project), capture_output=True, text=True, check=False)
    if result.returncode:
        raise SettingsError(f"stage code failed: {(result.stderr or result.stdout).strip().splitlines()[-1]}")


def accept(project: Project, stage: str) -> None:
    """Record today's dependencies in dvc.lock beside the recorded outs; the training's outs are neither read nor written.

    Only the record of the stage's inputs, itself an out, is replaced.
    """
    from dvc.repo import Repo, lock_repo
    from dvc.stage.serialize import to_single_stage_lockfile

    from flows.dvc import entries

    with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
        entries.install()
        loaded = repo.stage.load_one(path=str(project.folder / "dvc.yaml"), name=stage)
        for dep in loaded.deps:
            dep.save()
        path = project.folder / record_path(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, serialise(*inputs_of(to_single_stage_lockfile(loaded))))
        for out in loaded.outs:
            if Path(out.fs_path) == path:
                out.save()
                out.commit()
        loaded.dump(update_pipeline=False)


def keep(project: Project, proof: Proof) -> None:
    """Append the proof to ``carried.json``, which is committed."""
    path = project.folder / PROOFS
    proofs = [*read_proofs(project.folder), asdict(proof)]
    write_json(path, proofs)


def read_proofs(folder: Path) -> list[dict[str, Any]]:
    """Read all proofs of a workspace, oldest first."""
    path = folder / PROOFS
    proofs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return proofs


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """Check out a commit in a temporary worktree of the repository."""
    with tempfile.TemporaryDirectory(prefix="darkroom-code-") as name:
        tree = Path(name) / "code"
        git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            git(root, "worktree", "remove", "--force", str(tree))


def machine() -> str:
    """Return the processor model: results are bit-identical only on the same model."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _torch() -> str:
    from importlib.metadata import version

    return version("torch")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content
