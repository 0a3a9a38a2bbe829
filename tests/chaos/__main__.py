"""``make chaos KILLS=200 SEED=1``: the chaos test for as long as one likes; prints the seed and a line a kill."""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from chaos.rounds import chaos

parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
parser.add_argument("--kills", type=int, default=200)
parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
given = parser.parse_args()
print(f"seed {given.seed}", flush=True)
started = time.monotonic()
folder = Path(tempfile.mkdtemp(prefix="chaos-"))
print(f"in {folder}, which stays if something is wrong", flush=True)
flows = chaos(folder, given.kills, given.seed, lambda line: print(line, flush=True))
shutil.rmtree(folder)
took = f"{given.kills} kills, {flows} flows, {time.monotonic() - started:.0f} s"
print(f"{took}: nothing lost, nothing doubled, nothing left behind")
