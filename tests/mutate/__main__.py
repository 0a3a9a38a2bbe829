"""``make mutate``: plant single faults in the files that a change touches, and print those that no test notices.

The files are those of FILES, or else those under components/ and flows/ that differ from the branch ``main`` (on it: from the
last commit). A random sample of their faults is planted, one at a time, in a copy of the project, until the time is over; the
tests that run the changed line are run, the quickest first. Exit code 1 if a fault passed unnoticed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutate import trial
from mutate.covering import covering_files, covering_tests
from mutate.faults import Fault, faults_of

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("components", "flows", "tests", "docs", "experiments", ".dvc", ".ci")
SPARE = 20.0  # seconds that a trial may take beside three times what its tests take


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("files", nargs="*", help="files to plant faults in; default: those that differ from main")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the sample of faults")
    parser.add_argument(
        "--tests", nargs="*", default=[], help="test files; default: those that import the files or mirror them"
    )
    parser.add_argument("--test-seconds", type=float, default=40.0, help="a fault is tried with tests of at most this long")
    given = parser.parse_args()
    files = given.files or changed_files()
    if not files:
        print("no file under components/ or flows/ differs: name some, make mutate FILES='components/core/step.py'")
        return 0
    deadline = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory(prefix="mutate-") as temporary:
        copy = copy_project(Path(temporary) / "project")
        tests = given.tests or covering_files(ROOT, files)
        print(f"{len(files)} files, {len(tests)} files of tests", flush=True)
        trial.import_packages()
        known = trial.baseline(copy, files, tests, 0.5 * 60 * given.minutes)
        if not known["seconds"]:
            print(f"no test passed without a fault, so that none could notice one: {' '.join(tests)}")
            return 2
        results = plant_all(copy, files, known, deadline, given)
    return report(files, results, given.seed)


def changed_files() -> list[str]:
    """Return the Python files that differ from main, or from the last commit but one where main is what is checked out."""
    base = _git("merge-base", "HEAD", "main") or ["HEAD~1"]
    base = ["HEAD~1"] if base == _git("rev-parse", "HEAD") else base
    names = _git("diff", "--name-only", "--diff-filter=d", base[0], "--", "components", "flows")
    return [name for name in names if name.endswith(".py")]


def _git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


def copy_project(folder: Path) -> Path:
    """Copy what the tests read; the working tree stays as it is."""
    folder.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy2(path, folder)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    (folder / ".work").mkdir()
    return folder


def plant_all(copy: Path, files: list[str], known: dict, deadline: float, given: argparse.Namespace) -> list[dict]:
    """Plant a random order of faults until all are tried or the time is over; one record a fault."""
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in files}
    faults = [fault for file, source in sources.items() for fault in faults_of(file, source)]
    random.Random(given.seed).shuffle(faults)
    results: list[dict] = []
    print(f"{len(known['seconds'])} tests, {len(faults)} faults", flush=True)
    for fault in faults:
        if time.monotonic() > deadline:
            break
        if changed := fault.plant(sources[fault.file]):
            tests = covering_tests(known, fault.file, fault.lines, given.test_seconds)
            result = {"file": fault.file, "line": fault.lines[0], "operator": fault.operator, "tests": len(tests)}
            result["noticed"] = try_fault(copy, fault, changed, tests, known)
            (copy / fault.file).write_text(sources[fault.file], encoding="utf-8")
            if not result["noticed"]:
                result["diff"] = fault.diff(sources[fault.file])
                print(f"\n{result['diff']}\n  unnoticed by {len(tests)} tests", flush=True)
            results.append(result)
    return results


def try_fault(copy: Path, fault: Fault, changed: str, tests: list[str], known: dict) -> bool:
    """Whether the tests notice; a fault in a line that none of them runs is not planted at all."""
    (copy / fault.file).write_text(changed, encoding="utf-8")
    limit = SPARE + 3 * sum(known["seconds"][test] for test in tests)
    return bool(tests) and trial.noticed(copy, tests, limit)


def report(files: list[str], results: list[dict], seed: int) -> int:
    """Print the share that was noticed per file, and write .work/mutate.json."""
    out = ROOT / ".work" / "mutate.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"seed": seed, "faults": results}, indent=1), encoding="utf-8")
    print()
    for file in files:
        mine = [result["noticed"] for result in results if result["file"] == file]
        print(f"{sum(mine):4} of {len(mine):4} noticed  {file}")
    unnoticed = sum(not result["noticed"] for result in results)
    print(f"{len(results)} faults, {unnoticed} unnoticed: .work/mutate.json")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
