"""The logic of `make gpu-check`, without a GPU: parts, budget, table, tiny sizes."""

import json
import subprocess
import sys

import pytest
import torch
from families.tiny import Tiny
from gpu import cifar10, parts, training_step, wheels
from gpu.on_device import largest_difference, module_difference, train_on
from workbench import ROOT, environment

CPU = torch.device("cpu")


def part(name, code, most=20.0, least=0.0):
    return parts.Part(name, (sys.executable, "-c", code), most, least)


WRITES = "import os, json; json.dump({'ratio': 0.9, 'ours_ms': 2, 'bare_ms': 1.8}, open(os.environ['RESULT'], 'w'))"


def test_a_part_that_fails_or_hangs_is_recorded_and_the_next_one_runs():
    said = []
    planned = [
        part("breaks", "raise SystemExit('CUDA error: no kernel')"),
        part("hangs", "import time; time.sleep(60)", most=0.3),
        part("works", WRITES),
        part("late", WRITES, least=1e9),
    ]
    results = parts.run_all(planned, parts.Budget(1000), said.append)
    assert [result["state"] for result in results.values()] == ["failed", "out of time", "done", "not reached"]
    assert "no kernel" in results["breaks"]["reason"]
    assert said[2] == "works: 2 ms a step, bare loop 1.8 ms: ratio 0.9, below the goal of 0.95"
    shown = parts.table({"device": "X", "torch": "2", "commit": None}, results)
    assert "| late | not reached | not reached: " in shown


def test_the_budget_bounds_the_last_part():
    now = [0.0]
    budget = parts.Budget(10, clock=lambda: now[0])
    now[0] = 9.8
    result = parts.run_part(part("hangs", "import time; time.sleep(60)"), min(20.0, budget.left))
    assert result == {"state": "out of time", "reason": "not done after 0 s"}


def test_failed_tests_are_named():
    junit = (
        '<testsuites><testsuite tests="4" failures="1" errors="0" skipped="1"><testcase name="a"/>'
        '<testcase name="b[munit]"><failure/></testcase><testcase name="c"><skipped/></testcase><testcase name="d"/>'
        "</testsuite></testsuites>"
    )
    found = parts.counts_of(junit)
    assert found == {"state": "failed", "passed": 2, "failed": ["b[munit]"], "skipped": 1}
    assert parts.line(found) == "2 tests passed, 1 skipped, failed: b[munit]"


def test_without_a_gpu_it_skips_with_a_reason_and_exit_code_0(tmp_path):
    command = [sys.executable, "tests/gpu", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(CUDA_VISIBLE_DEVICES=""), capture_output=True, text=True, check=False
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert done.stdout.startswith("gpu-check skipped: torch")


@pytest.mark.parametrize("name", training_step.TINY)
def test_both_loops_take_the_same_step_of_the_same_network(name):
    found = training_step.time_step(training_step.TINY[name], CPU, compiled=False, rounds=1)
    assert found["ratio"] == pytest.approx(found["bare_ms"] / found["ours_ms"], rel=1e-2)


@pytest.mark.parametrize("case", training_step.CASES.values(), ids=training_step.CASES)
def test_the_settings_of_a_useful_size_are_valid(case):
    from components.core import catalogue
    from components.core.config.run import parse_model, parse_train

    assert parse_model(case.model, "model").name == case.model["name"]
    train = parse_train(
        catalogue.load("recipe", case.recipe, "recipe"), {"steps": 1, "batch_size": case.batch_size} | case.train, "t"
    )
    assert train.batch_size == case.batch_size
    assert case.kind in {tiny.kind for tiny in training_step.TINY.values()}


def test_the_small_task_learns_drawn_images_and_claims_nothing(monkeypatch):
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    found = cifar10.train(cifar10.TINY, CPU, compiled=False)
    assert (found["data"], found["reached"], len(found["accuracies"])) == ("synthetic", None, 3)
    assert found["accuracy"] > 0.5
    assert "no claim" in parts.line({"state": "done"} | found)


def test_images_are_flipped_and_shifted_whole():
    image = torch.arange(32 * 32, dtype=torch.int64).view(1, 32, 32, 1).remainder(251).to(torch.uint8).repeat(64, 1, 1, 3)
    generator = torch.Generator().manual_seed(0)
    (batch,) = cifar10.augmented(image, torch.zeros(64, dtype=torch.int64), 64, generator)
    inner = image[0, 12:20, 12:20]
    found = set()
    for one in batch["image"]:
        for flip in (False, True):
            turned = one.flip(1) if flip else one
            for dy in range(-4, 5):
                for dx in range(-4, 5):
                    if torch.equal(turned[12 + dy : 20 + dy, 12 + dx : 20 + dx], inner):
                        found.add((flip, dy, dx))
    assert {flip for flip, _, _ in found} == {False, True}
    assert min(dy for _, dy, _ in found) <= -3
    assert max(dx for _, _, dx in found) >= 3


def test_published_batches_are_read_and_others_refused(tmp_path, monkeypatch):
    from components.stages.fetch import cifar10 as source

    folder = tmp_path / source.FOLDER
    folder.mkdir()
    record = bytes([7]) + bytes(range(256)) * 12
    monkeypatch.setattr(source, "IMAGES", 1)
    monkeypatch.setattr(source, "MD5", dict.fromkeys(source.MD5, "8a2ff0a0bb9a0c0a0cc7a7b5d4d8a8b1"))
    for name in source.MD5:
        (folder / name).write_bytes(record)
    with pytest.raises(ValueError, match="not CIFAR-10's published bytes"):
        cifar10.load(tmp_path, (1, 1))
    import hashlib

    monkeypatch.setattr(source, "MD5", dict.fromkeys(source.MD5, hashlib.md5(record).hexdigest()))
    name, (images, labels, test, _) = cifar10.load(tmp_path, (1, 1))
    assert (name, images.shape, test.shape, labels.tolist()) == ("cifar10", (5, 32, 32, 3), (1, 32, 32, 3), [7] * 5)
    assert images[0, 0, :3, 0].tolist() == [0, 1, 2]


def test_the_wheels_are_pinned_as_in_the_lock_file():
    assert [pin.partition("==")[0] for pin in wheels.pins()] == [*wheels.NEEDED, *wheels.TESTS]
    assert wheels.missing() == []
    assert all(pin in wheels.advice() for pin in wheels.pins())


def test_a_family_s_run_on_a_device_is_the_training_loop_s(tmp_path):
    tiny = Tiny("classification", tmp_path)
    first, points = train_on(tiny, CPU, "fp32")
    second, _ = train_on(tiny, CPU, "fp32")
    other, _ = train_on(tiny, CPU, "fp32", learning_rate=0.02)
    assert largest_difference(first, second) == 0 < largest_difference(first, other)
    assert "loss" in points[-1]
    assert module_difference(tiny, first, CPU) == 0
    assert json.dumps(points)
