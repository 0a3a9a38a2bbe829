"""``python -m flows``: quick when there is nothing to do, one message when something is wrong."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from typing import Any

PUBLISHED = "is_published=lambda workspace, run: True"
NOT_IMPORTED = "print('imported:', {'prefect', 'mlflow', 'torch', 'numpy', 'pandas'} & set(sys.modules))"


def ask(fake: Any, *words: str, **options: Any) -> tuple[int, str]:
    process = fake.flows(*words, **options)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


LEFT_OUT = "not among pipeline.runs: c (--runs c, or --all)"


def test_nothing_to_do_is_said_at_once(done: Any) -> None:
    report = done.folder / "outputs" / "evaluate" / "a" / "report"
    report.mkdir()
    (report / "report.json").write_text(json.dumps({"directions": {"accuracy": "max"}}))
    done.dvc("commit", "-f", "-q", "evaluate@a")
    code, output = ask(done, "run", options=PUBLISHED, code=NOT_IMPORTED)
    assert code == 0, output
    assert "nothing to do: 11 stages are up to date and a, b published" in output
    assert "a    accuracy 0.5  " in output
    assert "imported: set()" in output  # `make bench` measures how quick that is


def test_plan_starts_nothing(done: Any) -> None:
    done.change(lambda content: content["runs"]["a"]["evaluate"].update(split="test"))
    for words in (("plan",), ("run", "--dry-run")):
        code, output = ask(done, *words, options=PUBLISHED, code=NOT_IMPORTED)
        assert code == 0
        assert output.splitlines() == [
            "stage          why",
            "evaluate@a     runs.a.evaluate.split: test added",
            "ood_table@odd  downstream of evaluate@a",
            "publish@a      new results",
            "2 stages to run, 9 up to date",
            LEFT_OUT,
            "imported: set()",
        ]
    assert not (done.folder / ".work" / "locks").exists()


def test_a_reader_that_has_seen_enough_gets_no_traceback(done: Any) -> None:
    command = [sys.executable, "-m", "flows", "plan", "--project", str(done.folder)]
    process = subprocess.Popen(command, env=done.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 141)


def test_what_is_wrong_is_said_before_anything_starts(done: Any) -> None:
    for words, message in {
        ("--runs", "a,z"): "error: --runs: unknown run 'z'; there are: a, b, c",
        ("--study", "z"): "error: --study: no study 'z' in experiments/",
        ("--runs", "a", "--all"): "not allowed with argument",
    }.items():
        code, output = ask(done, "run", *words)
        assert (code, message in output) == (2, True), output
    done.change(lambda content: content["pipeline"].update(run=["a"]))
    code, output = ask(done, "run")
    assert code == 2
    assert f"{done.folder}/params.yaml: pipeline.run: unknown key" in output
    assert not (done.folder / ".work" / "locks").exists()


def test_wrong_version_stops_the_run(done: Any) -> None:
    (done.folder / "requirements.lock").write_text("dvc==1.0\n")
    code, output = ask(done, "plan")
    assert code == 2
    assert "dvc: 1.0 is wanted, 3.67.1 is installed" in output


def test_one_pipeline_run_a_workspace(done: Any) -> None:
    locks = done.folder / ".work" / "locks"
    locks.mkdir(parents=True)
    with (locks / "pipeline-root").open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        code, output = ask(done, "run", "--force", options=PUBLISHED)
        assert code == 3
        assert "another pipeline run (process 4711) is at work in" in output
        assert ask(done, "plan", options=PUBLISHED)[0] == 0
    assert ask(done, "run", options=PUBLISHED)[0] == 0


def test_broken_study_is_named_in_one_line_and_the_root_goes_on(done: Any) -> None:
    done.study("broken", "runs: [")
    code, output = ask(done, "plan", options=PUBLISHED)
    assert code == 0
    told, *rest = output.splitlines()
    assert told.startswith("warning: study broken is broken: ")
    assert "experiments/broken/params.yaml" in told
    assert rest == ["nothing to do: 11 stages are up to date and a, b published", LEFT_OUT]
