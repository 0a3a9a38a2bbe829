"""A folder as the trainings leave it: a small classifier that knows three patterns, its view, and two views of other images."""

import json
import shutil

import numpy as np
import pytest
import torch
from workbench import write_params, write_view

from components.core.settings import Workspace
from components.stages.detect import outside, places, table
from components.stages.detect import stage as detect
from components.stages.views.view import open_view

PIXELS, IMAGES = 8, 60
KNOWN = ("rows", "columns", "chequers")
TRAIN = {
    "seed": 0,
    "threads": 1,
    "precision": "fp32",
    "steps": 1,
    "batch_size": 20,
    "optimizer": "adamw",
    "learning_rate": 1e-2,
}
BLOCKS = {"export": {}, "evaluate": {}, "promote": {}}
DETECT = {"run": "known", "view": "known", "serve": "vim", "options": {"knn": {"neighbours": 5}}}
MODEL = {"name": "vit", "patch": 4, "width": 16, "depth": 1, "heads": 2, "mlp_ratio": 1.0}
OOD = {
    "known_turned": {"detect": "strange", "view": "turned", "kind": "near", "split": "test"},
    "known_noise": {"detect": "strange", "view": "noise", "kind": "far"},
}


def drawn(name, seed):
    """uint8 [IMAGES, PIXELS, PIXELS, 1] of a kind of images, noisy; the patterns one after the other."""
    draws = np.random.default_rng(seed)
    line = np.arange(PIXELS) // 2 % 2
    grids = {"known": (line[:, None] + 0 * line, line[None] + 0 * line[:, None], line[:, None] ^ line[None])}
    grids["turned"] = (np.add.outer(line, line) % 2 * np.tri(PIXELS),)
    if name not in grids:
        return draws.integers(0, 256, (IMAGES, PIXELS, PIXELS, 1), dtype=np.uint8)
    clean = 60 + 130 * np.stack([grids[name][i % len(grids[name])] for i in range(IMAGES)])
    return (clean + draws.normal(0, 20, clean.shape)).clip(0, 255).astype(np.uint8)[..., None]


class Project:
    """A workspace and its stages, called as the commands are."""

    def __init__(self, folder, monkeypatch):
        self.folder, self._patch = folder, monkeypatch

    @property
    def workspace(self):
        return Workspace(self.folder)

    @property
    def outputs(self):
        return self.folder / "outputs"

    def edit(self, **blocks):
        """Change params.yaml: ``ood`` as a whole, others are keys of the block ``detect.strange``."""
        params = json.loads((self.folder / "params.yaml").read_text())
        params["ood"] = blocks.pop("ood", params["ood"])
        params["detect"]["strange"] |= blocks
        write_params(self.folder, params)

    def call(self, command, name):
        command.run(self.workspace, name)

    def detect(self):
        self.call(detect, "strange")

    def outside(self, entry):
        self.call(outside, entry)

    def table(self):
        places.clear(self.workspace, "strange")
        self.call(table, "strange")

    def everything(self):
        self.detect()
        for entry in self.workspace.params.ood:
            self.outside(entry)
        self.table()
        return self

    def view(self, name):
        return self.outputs / "views" / name

    def files(self, under="."):
        """Relative name -> bytes of what the stages wrote."""
        kinds = ("detect", "ood", "ood_table")
        paths = [path for kind in kinds for path in (self.outputs / kind).rglob("*") if path.is_file()]
        return {path.relative_to(self.outputs).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder, trained once."""
    folder = tmp_path_factory.mktemp("detect") / "trained"
    labels = np.arange(IMAGES) % len(KNOWN)
    for seed, name in enumerate(("known", "turned", "noise")):
        view = folder / "outputs" / "views" / name
        write_view(view, images=drawn(name, seed), labels=labels, classes=KNOWN)
    view = {"dataset": "drawn", "image_size": PIXELS, "channels": 1}
    run = {"recipe": "classification", "view": "known", "model": MODEL, "train": TRAIN, **BLOCKS}
    params = {"root": ".", "seed": 0, "pipeline": {"runs": []}, "datasets": {"drawn": {}}, "links": {}, "ood": OOD}
    params["detect"] = {"strange": DETECT}
    params |= {"views": dict.fromkeys(("known", "turned", "noise"), view), "runs": {"known": run}}
    write_params(folder, params)
    train(folder)
    return folder


def train(folder):
    from components.stages.assemble import build_recipe

    workspace, own = Workspace(folder), open_view(folder / "outputs" / "views" / "known")
    recipe = build_recipe(workspace.run("known"), {"main": own}, {}).train()
    for step in range(30):
        batches = list(own.batches("train", 20, ("label",)))
        recipe.training_step({"train": batches[step % len(batches)]}, step)
    out = folder / "outputs" / "train" / "known"
    out.mkdir(parents=True)
    torch.save(recipe.state_dict(), out / "weights.pt")


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """A copy of it that a test may change; nothing is published."""
    shutil.copytree(trained, tmp_path / "project")
    return Project(tmp_path / "project", monkeypatch)
