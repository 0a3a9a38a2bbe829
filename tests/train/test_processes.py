"""Two processes, started by hand in the launcher's environment, against one process with the same global batch."""

import subprocess
import sys

import pytest
import torch
from ruamel.yaml import YAML
from train.together import TOY_CODER, for_any_number
from workbench import ROOT, environment, write_params

from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.core.step import draw
from components.networks import MODELS
from components.stages.train.processes import MEETING, Place, place_in


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "toy_coder", TOY_CODER)
        torch.set_num_threads(1)
        return for_any_number(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes finds, by rank. They do everything in one go: each costs an import of torch."""
    folder = tmp_path_factory.mktemp("two")
    outside = environment(WORLD_SIZE="2", GLOO_SOCKET_IFNAME="lo", PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}")
    outside |= {MEETING: str(folder / "meeting")}  # as the train stage starts them; by a port: test_training_with_processes.py
    command = [sys.executable, str(ROOT / "tests/train/together.py"), str(folder)]
    options = {"cwd": ROOT, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, env=outside | {"RANK": str(rank)}, **options) for rank in range(2)]
    try:
        for child in children:
            _, said = child.communicate(timeout=240)
            assert child.returncode == 0, said[-4000:]
    finally:
        for child in children:
            child.kill()
            child.wait()
    return [torch.load(folder / f"found.{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("recipe", ["toy", "vit"])
def test_twenty_steps_in_float64_end_at_the_same_weights(one, two, recipe):
    weights, curves = one["float64"][recipe]
    for found in two:
        others, other_curves = found["float64"][recipe]
        for name, tensor in weights.items():
            torch.testing.assert_close(others[name], tensor, rtol=0, atol=1e-9)
        assert numbers(other_curves) == pytest.approx(numbers(curves), rel=1e-5), "the curves are those of the global batch"
        assert (b"validation.accuracy" in other_curves) == (recipe == "vit")


def numbers(curves):
    return [float(cell) for line in curves.decode().splitlines()[1:] for cell in line.split(",") if cell]


@pytest.mark.parametrize("recipe", ["toy", "vit"])
def test_first_gradients_in_fp32_agree(one, two, recipe):
    expected = one["gradients"][recipe]
    for found in two:
        assert (found["gradients"][recipe] - expected).norm() < 1e-5 * expected.norm()


def test_a_contrastive_loss_over_gathered_rows_has_the_gradient_of_the_global_batch(one, two):
    whole, own_rows = one["contrastive"]
    torch.testing.assert_close(whole, own_rows)
    for found in two:
        for gradient in found["contrastive"]:
            torch.testing.assert_close(gradient, whole, rtol=1e-12, atol=1e-12)


def test_gradients_are_averaged_none_counts_as_zero_and_draws_are_sliced(two):
    for found in two:
        shared, single, unused, has_state = found["lonely"]
        assert (shared, single) == ([0.5 - 1.5] * 2, [0.5 - 3.0] * 2), "the means of 1 and 2, and of 6 and no gradient"
        assert (unused, has_state) == ([1.0] * 2, False), "without a gradient there is no decay and no momentum"
    together = torch.cat([found["noise"] for found in two])
    torch.testing.assert_close(together, draw((6, 2), seed=4, step=9, use="noise"))


def test_even_draws_and_partners_are_those_of_the_global_batch(two):
    even = torch.cat([found["even"] for found in two])
    torch.testing.assert_close(even, draw((6, 2), seed=4, step=9, use="time", kind="even"))
    partners = torch.cat([found["opposite"] for found in two])
    assert partners.tolist() == torch.arange(12.0).view(2, 6).T.flip(0).tolist()


def test_a_loss_that_is_not_finite_on_one_stops_all_with_its_name(one, two):
    assert {found["poisoned"] for found in (one, *two)} == {"step 3: not finite: loss, gradient"}


def test_sigterm_to_one_stops_all_after_the_same_step_and_they_resume_to_the_same_bits(two):
    for found in two:
        stopped, (weights, curves) = found["interrupted"]
        undisturbed, whole_curves = found["undisturbed"]
        assert stopped == "stopped by SIGTERM, checkpoint at step 12"
        assert all(torch.equal(weights[name], tensor) for name, tensor in undisturbed.items())
        assert curves == whole_curves


def test_they_agree_and_notice_where_they_do_not(two):
    for found in two:
        assert found["anyone"] == [True, False]
        assert found["from rank 0"]["step"] == 7
        assert found["from rank 0"]["weights"].tolist() == [0, 1, 2]
        assert found["same"] is None
        assert "the weather must be the same on all processes" in found["different"]
        assert found["different"].endswith("rank 1")


def test_who_stays_behind_says_so(two):
    assert two[0]["lost"].startswith("process 0 of 2: another process of this training is gone or does not answer")


OUTSIDE = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "m", "MASTER_PORT": "1"}


def test_the_place_is_torchruns():
    assert place_in(OUTSIDE, 8, "runs.r.train") == Place(5, 8, 1, 4)
    assert place_in({}, 1, "runs.r.train") == Place(0, 1, 0, 1)
    assert place_in({}, 2, "runs.r.train") is None, "they are still to be started"
    assert place_in({"RANK": "1", "WORLD_SIZE": "2", MEETING: "file"}, 2, "runs.r.train") == Place(1, 2, 0, 1)
    assert place_in({"RANK": "0", "WORLD_SIZE": "1"}, 1, "runs.r.train") == Place(0, 1, 0, 1), "one has nobody to meet"


@pytest.mark.parametrize(
    ("changed", "wanted", "says"),
    [
        ({}, 1, r"runs\.r\.train\.processes: 1 .*WORLD_SIZE=8: set it to 8"),
        ({"RANK": "8"}, 8, r"RANK=8 is not allowed: WORLD_SIZE=8 has the ranks 0 to 7"),
        ({"RANK": "-1"}, 8, r"RANK='-1' is not allowed"),
        ({"MASTER_PORT": None}, 8, r"MASTER_PORT must be set"),
    ],
)
def test_an_environment_that_does_not_fit_is_an_error(changed, wanted, says):
    given = {name: value for name, value in (OUTSIDE | changed).items() if value is not None}
    with pytest.raises(ValueError, match=says):
        place_in(given, wanted, "runs.r.train")


def test_a_batch_that_cannot_be_shared_is_refused_with_the_settings(tmp_path):
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    params["runs"]["vit_digits"]["train"] |= {"processes": 3}
    write_params(tmp_path, params)
    with pytest.raises(SettingsError, match=r"runs\.vit_digits\.train\.batch_size: 64 .*processes, 3; the next is 66"):
        Workspace(tmp_path).run("vit_digits").parsed()
