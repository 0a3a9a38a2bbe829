"""Kill what works, at random moments, and look whether anything is lost, doubled, different or left behind.

A round makes stages stale in two projects. One, the twin, runs undisturbed. In the other the flow, a stage, DVC and the server
are killed in turn, and the flow is started again whenever it has ended, until the round's kills are spent and the work is done.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from chaos.processes import TARGETS, kill, kind, label, working
from chaos.project import Project, params, stop
from ruamel.yaml import YAML
from workbench import make_project

A_ROUND = 10  # kills
PASSING = (0, 1, 1, 2, 2, 3)  # stages that begin before a kill; 0: also while the flow is only starting
LONGEST_WAIT = 4.0  # seconds between that and the kill, at most; then until a process of its kind is there
PATIENCE = 300.0  # seconds for one flow to end by itself
LEAVING = 40.0  # seconds for all processes to be gone after the flow

Say = Callable[[str], None]


def chaos(folder: Path, kills: int, seed: int, say: Say) -> int:
    """Kill ``kills`` times; how often a flow was started. AssertionError tells what was lost, doubled, different or left."""
    chance = random.Random(seed)
    victim = Project(make_project(folder / "victim", params(0)))
    twin = Project(shutil.copytree(victim.folder, folder / "twin", symlinks=True))
    done = started = number = 0
    try:
        while done < kills:
            quota = min(A_ROUND, kills - done)
            started += play_round(victim, twin, number, in_turn(done, quota, chance), chance, say)
            done, number = done + quota, number + 1
        clear_up(victim)
    finally:
        for project in (victim, twin):
            for pid in working(project.work):
                kill(pid)
    return started


def in_turn(done: int, quota: int, chance: random.Random) -> list[tuple[int, str]]:
    """The kills of a round, with their numbers: every kind of process once in four, in any order."""
    targets = [target for _ in range(quota) for target in chance.sample(TARGETS, len(TARGETS))]
    return [(done + 1 + index, target) for index, target in enumerate(targets[:quota])]


def play_round(  # noqa: PLR0917
    victim: Project, twin: Project, number: int, kills: list[tuple[int, str]], chance: random.Random, say: Say
) -> int:
    """One round; how many flows it took."""
    victim.begin(number)
    twin.begin(number)
    undisturbed = twin.start("-m", "dvc", "repro", "-q")
    locks: list[str] = []
    flows = 0
    try:
        while True:
            flows += 1
            flow = victim.start("-m", "flows", "run", "--all")
            disturbed = attack(victim, flow, kills, chance, say)
            no_orphan(victim)
            locks.append(victim.lock())
            once(victim)
            if not disturbed:
                assert flow.returncode == 0, f"an undisturbed flow ended with {flow.returncode}:\n{tail(victim)}"
                if not kills:
                    break
        assert undisturbed.wait(PATIENCE) == 0, tail(twin)
    finally:
        stop(undisturbed)
    for text in locks:
        same_records(text, twin.lock(), number)
    same_results(victim, twin)
    say(f"round {number}: {flows} flows; all as in the undisturbed twin")
    return flows


def attack(
    victim: Project, flow: subprocess.Popen[bytes], kills: list[tuple[int, str]], chance: random.Random, say: Say
) -> bool:
    """Kill until the flow has ended, taking them from ``kills``; whether anything was killed."""
    began, disturbed = time.monotonic(), False
    while kills and flow.poll() is None:
        number, target = kills[0]
        hit = ambush(victim, flow, target, chance.choice(PASSING), chance.uniform(0, LONGEST_WAIT))
        if hit is not None:
            disturbed = True
            kills.pop(0)
            say(f"kill {number}: {target} {hit}, {time.monotonic() - began:.1f} s after the flow's start")
    try:
        flow.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the flow does not end; alive: {working(victim.work)}\n{tail(victim)}") from None
    return disturbed


def ambush(victim: Project, flow: subprocess.Popen[bytes], target: str, passing: int, wait: float) -> str | None:
    """Let some stages begin, then kill a process of the kind after ``wait`` seconds; which, or None if the flow ended first."""
    seen: set[int] = set()
    after = None if passing else time.monotonic() + wait
    while flow.poll() is None:
        alive = working(victim.work)
        seen |= {pid for pid, words in alive.items() if kind(words) == "stage"}
        if after is None and len(seen) >= passing:
            after = time.monotonic() + wait
        if after is not None and time.monotonic() >= after:
            for pid, words in alive.items():
                if kind(words) == target and kill(pid):
                    return label(words)
        time.sleep(0.02)
    return None


def no_orphan(victim: Project) -> None:
    """Nothing that worked for the flow outlives it for long."""
    deadline = time.monotonic() + LEAVING
    while alive := working(victim.work):
        assert time.monotonic() < deadline, f"left behind: {alive}"
        time.sleep(0.05)


def once(victim: Project) -> None:
    """No version, run or evaluation is there twice."""
    doubled = [key for key, count in victim.registered().items() if count > 1]
    assert not doubled, f"registered twice: {doubled}"


def same_records(lock: str, wanted: str, number: int) -> None:
    """Whatever dvc.lock holds of this round's inputs has the results of the undisturbed run."""
    found, twin = (YAML(typ="safe", pure=True).load(text) or {"stages": {}} for text in (lock, wanted))
    for name, entry in found["stages"].items():
        other = twin["stages"][name]
        if all(entry.get(part) == other.get(part) for part in ("cmd", "deps", "params")):
            assert entry["outs"] == other["outs"], f"round {number}: {name} has other results than undisturbed"


def same_results(victim: Project, twin: Project) -> None:
    """The lock, every byte of every out, and what is registered, are those of the undisturbed run."""
    assert victim.lock() == twin.lock(), "dvc.lock differs"
    mine, wanted = victim.outs(), twin.outs()
    assert sorted(mine) == sorted(wanted), f"other files: {sorted(set(mine) ^ set(wanted))}"
    assert not [name for name in mine if mine[name] != wanted[name]], "outs differ"
    assert victim.candidates() == twin.candidates()
    assert len(victim.candidates()) == len(params(0)["runs"])


def clear_up(victim: Project) -> None:
    """Doctor mends what the kills left, and then finds nothing."""
    for words in (("--fix",), ()):
        doctor = victim.start("-m", "flows", "doctor", *words)
        assert doctor.wait(PATIENCE) == 0, f"doctor {' '.join(words)}\n{tail(victim)}"
    assert working(victim.work) == {}


def tail(project: Project) -> str:
    """The end of what the project's processes said."""
    return project.said.read_text(errors="replace")[-6000:]
