"""``python pairs_together.py <folder>``: two steps of both recipes in float64, alone, then in two processes."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from families.pairs import batch, build, scattered

from components.core.step import processes

BATCH = 8


def weights():
    """After two steps, this process with its share of each batch."""
    rank, world = processes()
    share = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    found = {}
    for kind in ("munit", "unit"):
        recipe = scattered(build(kind)).double()
        for step in range(2):
            whole = batch(BATCH, seed=step, dtype=torch.float64)
            recipe.training_step({"train": {name: tensor[share] for name, tensor in whole.items()}}, step)
        found |= {f"{kind}.{name}": tensor for name, tensor in recipe.state_dict().items()}
    return found


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    child = os.fork()  # before torch has done anything: a second import would cost more than all the rest
    rank = 0 if child else 1
    if rank == 0:
        torch.save(weights(), folder / "alone.pt")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(weights(), folder / f"{rank}.pt")
    dist.destroy_process_group()
    if child:
        _, status = os.waitpid(child, 0)
        raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
