"""``python together.py <folder>``: every family's tiny run in float64, first alone, then in two processes.

Writes alone.pt, 0.pt and 1.pt: family -> final weights, and the random numbers that each step began with.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from families.tiny import TINY, Tiny

PATIENCE = timedelta(seconds=60)  # for each other, on a busy machine


def in_float64(method):
    """The recipe's method, given float64 images."""

    def call(batches, *rest):
        return method({role: batch | {"image": batch["image"].double()} for role, batch in batches.items()}, *rest)

    return call


def trained(folder):
    found = {}
    for family in TINY:
        tiny, noise = Tiny(family, folder / family), []
        tiny.folder.mkdir(parents=True)
        recipe = tiny.build().double()
        for module in recipe.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # each process draws its own
            elif isinstance(getattr(module, "dropout", None), float):  # attention gives it to a function
                module.dropout = 0.0
        for name in ("training_step", "validate"):
            if hasattr(recipe, name):
                setattr(recipe, name, in_float64(getattr(recipe, name)))
        tiny.train(recipe, before=lambda recipe, step, noise=noise: noise.append(torch.initial_seed()), steps=2)
        found[family] = {"state": recipe.state_dict(), "noise": noise}
    return found


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    child = os.fork()  # before torch has done anything: a second import would cost more than all the rest
    rank = 0 if child else 1
    if rank == 0:
        torch.save(trained(folder / "views.alone"), folder / "alone.pt")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=PATIENCE)
    torch.save(trained(folder / f"views.{rank}"), folder / f"{rank}.pt")
    dist.destroy_process_group()
    if child:
        _, status = os.waitpid(child, 0)
        raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
