"""Results of a training under edited code: carried over if no bit changes, refused with the first tensor that differs."""

import json

import pytest
from finished import copy_of_finished_project, params_of_both
from workbench import run, write_params

RECIPE = "components/families/toy/recipe.py"
STATE = ("dvc.lock", "carried.json")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The toy, trained and committed."""
    folder = copy_of_finished_project(tmp_path_factory, tmp_path_factory.mktemp("carry") / "project")
    run("git", "add", "--all", cwd=folder)
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "toy", cwd=folder)
    return folder


@pytest.fixture(autouse=True)
def restored(project):
    """Every test begins with the committed files."""
    yield
    run("git", "checkout", "--quiet", "--", ".", cwd=project)
    (project / "carried.json").unlink(missing_ok=True)


def edit(project, old, new, file=RECIPE):
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))


def carry(project, *arguments):
    command = ["python", "-m", "flows", "carry", "toy", "--from", "HEAD", "--steps", "3", *arguments]
    done = run(*command, cwd=project, check=False)
    return done.returncode, done.stdout + done.stderr


def stale(project):
    return "train@toy" in run("dvc", "status", "train@toy", cwd=project).stdout


def test_a_refactoring_that_changes_no_bit_is_carried_with_its_proof(project):
    edit(project, "verdicts", "judged")
    edit(project, "noise = draw(", "drawn = None\n        noise = draw(")
    run("dvc", "repro", "code", cwd=project)
    assert stale(project)
    code, said = carry(project)
    assert (code, "carried over; 3 steps" in said) == (0, True), said
    assert not stale(project)
    (proof,) = json.loads((project / "carried.json").read_text())
    head = run("git", "rev-parse", "HEAD", cwd=project).stdout.strip()
    assert (proof["stage"], proof["old_commit"], proof["new_commit"], proof["steps"]) == ("train@toy", head, head + "+", 3)
    assert len(proof["state"]) == 64
    assert (
        f"path: outputs/train/toy/weights.pt\n      hash: md5\n      md5: {proof['weights']}\n"
        in (project / "dvc.lock").read_text()
    )
    assert "Running stage 'train@toy'" not in run("dvc", "repro", "train@toy", cwd=project).stdout
    assert len(run("git", "worktree", "list", cwd=project).stdout.splitlines()) == 1


@pytest.mark.slow  # test_states.py: one bit is a difference
@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("lr=self.settings.learning_rate, betas=(0.0", "lr=self.settings.learning_rate * 1.01, betas=(0.0", "recipe.coder"),
        ('use="noise"', 'use="another"', "recipe.coder"),
        ("clip_norm=1.0", "clip_norm=1e-3", "recipe.coder"),
        ("betas=(0.5, 0.99))", "betas=(0.5, 0.99), eps=1e-7)", "recipe.coder"),
        ("self.coder = make(", "self.drawn = torch.rand(3)\n        self.coder = make(", "recipe."),
    ],
)
def test_a_change_of_arithmetic_is_refused_with_the_first_tensor_that_differs(project, old, new, first):
    before = {name: (project / name).read_bytes() for name in STATE if (project / name).exists()}
    edit(project, old, new)
    code, said = carry(project)
    assert code == 1
    assert "not carried over: after 3 steps the two codes differ: " in said
    assert f"differ: {first}" in said or "differ: recipe.critic" in said
    lock = (project / "dvc.lock").read_text().partition("train@toy:")[2]
    assert lock == before["dvc.lock"].decode().partition("train@toy:")[2]
    assert not (project / "carried.json").exists()
    run("dvc", "repro", "code", cwd=project)
    assert stale(project)


def test_newer_code_that_is_committed_beside_an_older_result_proves_nothing(project):
    """Both codes would end in the same bits, but the result in dvc.lock is of neither."""
    edit(project, "clip_norm=1.0", "clip_norm=1e-3")
    commit = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--all", "--message", "edited"]
    run(*commit, cwd=project)
    try:
        code, said = carry(project)
    finally:
        run("git", "reset", "--quiet", "--hard", "HEAD~1", cwd=project)
    assert (code, "was not computed by the code of this commit" in said) == (1, True), said


@pytest.mark.slow
def test_other_settings_are_another_training(project):
    params = params_of_both()
    params["runs"]["toy"]["train"]["steps"] = 301
    write_params(project, params)
    code, said = carry(project)
    assert (code, "runs.toy.train was" in said, "another training" in said) == (1, True, True), said


def test_a_commit_from_before_the_study_is_named(project):
    first = run("git", "commit-tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "-m", "empty", cwd=project).stdout.strip()
    code, said = carry(project, "--from", first)
    assert (code, f"commit {first[:12]} has no params.yaml" in said, "Traceback" in said) == (1, True, False), said


def test_a_commit_that_is_none_and_a_run_that_never_ran(project):
    done = run("python", "-m", "flows", "carry", "toy", "--from", "nowhere", cwd=project, check=False)
    assert (done.returncode, "'nowhere' is no commit" in done.stderr) == (2, True)
    (project / "dvc.lock").unlink()
    code, said = carry(project)
    assert (code, "it was never run" in said) == (1, True)
