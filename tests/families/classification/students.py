"""``python students.py <folder>``: a student in float64, first alone, then in two processes. Writes alone.pt, 0.pt, 1.pt."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from families.classification.test_distillation import BOTH, make_teacher, make_view, settings_of

from components.stages.assemble import build_recipe
from components.stages.train import loop

PATIENCE = timedelta(seconds=120)  # for each other, on a busy machine


def trained(folder):
    """Its final weights after three updates on labelled and unlabelled pictures, with labels too."""
    views = {"main": make_view(folder / "few"), "unlabelled": make_view(folder / "many", seed=1)}
    _, link = make_teacher(folder, views["main"])
    settings = settings_of(BOTH | {"unlabelled_batch_size": 4, "ground_truth": 0.5}, steps=3, validate_every=0)
    recipe = build_recipe(settings, views, {"teacher": link}).double()
    step_of = recipe.training_step

    def in_float64(batches, step):
        return step_of({role: batch | {"image": batch["image"].double()} for role, batch in batches.items()}, step)

    recipe.training_step = in_float64
    loop.train(recipe, views, settings.train, device=torch.device("cpu"), precision="fp32",
               checkpoints=None, log=lambda step, point: None)  # fmt: skip
    return recipe.state_dict()


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    child = os.fork()
    rank = 0 if child else 1
    if rank == 0:
        torch.save(trained(folder / "alone"), folder / "alone.pt")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=PATIENCE)
    torch.save(trained(folder / str(rank)), folder / f"{rank}.pt")
    dist.destroy_process_group()
    if child:
        _, status = os.waitpid(child, 0)
        raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
