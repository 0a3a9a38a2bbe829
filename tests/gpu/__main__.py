"""``make gpu-check``: on a machine with a GPU, the tests marked `gpu`, the speed of training steps, CIFAR-10 to 94 %.

Needs torch and a few small packages (``--wheels`` lists them), no network, no .venv. Writes gpu_check.json and gpu_check.md.
Without a GPU it says why it skips, and exits with 0. Exit codes: 0 all done; 1 a part failed or ran out of time; 2 a package is
missing. Figures below their goal are marked and fail nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gpu import parts, wheels

CIFAR = "CIFAR-10"
SECONDS = 480.0
SHARES = {"tests": 0.35, "task": 0.35, "step": 0.2}  # of all seconds, that one part may take at most


def main(words: list[str] | None = None) -> int:
    """Parse the command line, run the parts and write the results."""
    parser = argparse.ArgumentParser(prog="make gpu-check", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together (480)")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / ".work" / "gpu-check"))
    parser.add_argument("--wheels", action="store_true", help="print the packages to carry to a machine without a network")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu, with --tiny: a try of the program")
    parser.add_argument("--tiny", action="store_true", help="networks and data of no use, uncompiled, and no tests")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.wheels:
        print(wheels.advice())
        return 0
    if reason := unable(given.device):
        print(f"gpu-check skipped: {reason}")
        return 0
    if missing := wheels.missing():
        print(f"gpu-check: missing here: {', '.join(missing)}\n{wheels.advice()}", file=sys.stderr)
        return 2
    if given.part:
        Path(os.environ["RESULT"]).write_text(json.dumps(run_own(given.part, given.device, tiny=given.tiny)), encoding="utf-8")
        return 0
    return check(given)


def unable(device: str) -> str | None:
    """Return why nothing can be checked here."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if device == "cuda" and not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device here"
    return None


def check(given: argparse.Namespace) -> int:
    """Run all parts and write both files."""
    options = ("--device", given.device, *(["--tiny"] if given.tiny else []))
    most = {name: share * given.seconds for name, share in SHARES.items()}
    planned = [] if given.tiny else [parts.tests_part(most["tests"])]
    planned.append(parts.own_part(CIFAR, most["task"], *options))
    planned += [parts.own_part(name, most["step"], *options) for name in cases(tiny=given.tiny)]
    results = parts.run_all(planned, parts.Budget(given.seconds), lambda text: print(text, flush=True))
    machine = describe(given.device)
    given.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "seconds": given.seconds, "goal": parts.GOAL, "parts": results}
    (given.out / "gpu_check.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (given.out / "gpu_check.md").write_text(parts.table(machine, results), encoding="utf-8")
    print(f"written: {given.out / 'gpu_check.json'}, {given.out / 'gpu_check.md'}")
    return int(any(result["state"] != "done" for result in results.values()))


def cases(*, tiny: bool) -> dict[str, Any]:
    """Return the cases of the training step."""
    from gpu import training_step

    return training_step.TINY if tiny else training_step.CASES


def run_own(name: str, device: str, *, tiny: bool) -> dict[str, Any]:
    """Run one part in this process and return its figures."""
    import torch
    from gpu import cifar10, training_step

    if device == "cpu":
        torch.set_num_threads(1)
    place = torch.device(device)
    if name == CIFAR:
        return cifar10.train(cifar10.TINY if tiny else cifar10.Task(), place, compiled=not tiny)
    return training_step.time_step(cases(tiny=tiny)[name], place, compiled=not tiny, rounds=1 if tiny else training_step.ROUNDS)


def describe(device: str) -> dict[str, Any]:
    """Return device, versions and commit."""
    import torch

    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    facts = {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda, "commit": done.stdout.strip() or None}
    return facts | {"python": sys.version.split()[0], "gpus": torch.cuda.device_count()}


if __name__ == "__main__":
    sys.exit(main())
