"""Two gloo processes: one update is the mean of both gradients, one draw is sliced between them."""

import json
import subprocess
import sys

import torch
from workbench import ROOT, environment

from components.train.optimize import draw

CHILD = """
import json, sys, torch, torch.distributed as dist
from components.train.optimize import draw, optimize
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
shared, lonely = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
loss = (shared * (rank + 1)).sum() + (lonely.sum() * 6 if rank == 0 else 0)
optimize(loss, torch.optim.SGD([shared, lonely], lr=1.0))
noise = draw((3, 2), seed=4, step=9, use="noise")
print(json.dumps({"shared": shared.tolist(), "lonely": lonely.tolist(), "noise": noise.tolist()}))
dist.destroy_process_group()
"""


def test_gradients_are_averaged_none_counts_as_zero_and_draws_are_sliced(tmp_path):
    command = [sys.executable, "-c", CHILD]
    options = {"cwd": ROOT, "env": environment(), "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, str(rank), str(tmp_path)], **options) for rank in range(2)]
    found = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    for process in found:
        assert process["shared"] == [1 - 1.5] * 2, "the mean of 1 and 2"
        assert process["lonely"] == [1 - 3.0] * 2, "the mean of 6 and no gradient"
    together = torch.tensor(found[0]["noise"] + found[1]["noise"])
    torch.testing.assert_close(together, draw((6, 2), seed=4, step=9, use="noise"))
