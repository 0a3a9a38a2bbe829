"""A run with nothing to do."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bench_noop(ratio):
    """``dvc repro`` of the default runs against the flow, both with nothing stale; run ``make run`` first."""

    def command(*words):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode or "Running stage" in done.stdout:
            raise SystemExit(f"bench noop: {' '.join(words)} had work to do or failed; run make run-all first\n{done.stderr}")

    dvc = str(Path(sys.executable).with_name("dvc"))
    plain, flow, times = ratio(lambda: command(dvc, "repro"), lambda: command(sys.executable, "-m", "flows", "run"), rounds=5)
    yield f"dvc repro {plain:.2f} s, flow {flow:.2f} s: ratio {times:.2f}"
