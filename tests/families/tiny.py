"""The smallest run of every family, from tiny.yaml: its settings, views, recipe and a short training."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from workbench import toy_params, write_params, write_view

from components.core.batch import Batch
from components.core.config.strict import read_yaml
from components.core.recipe import Recipe
from components.core.settings import RunSettings, Workspace
from components.stages.assemble import build_recipe
from components.stages.train import loop
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.curves import Curves
from components.stages.train.stage import write_outs
from components.stages.views.view import View, open_view

TINY: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("tiny.yaml"))
STEPS = 4
SHARED = {"seed": 0, "threads": 1, "precision": "fp32", "steps": STEPS, "warmup": 1, "schedule": "linear"}
SHARED |= {"ema_decay": 0.5, "checkpoint_every": 2, "log_every": 3}
IMAGES = 24
VIEWS = {"main": "plain", "second": "turned"}  # role -> a view of toy_params

Before = Callable[[Recipe, int], None]


@dataclass(frozen=True)
class Tiny:
    """The run of ``family`` in ``folder``."""

    family: str
    folder: Path
    parsed: dict[str, RunSettings] = field(default_factory=dict)  # params.yaml -> its run, which is read once

    @property
    def entry(self) -> dict[str, Any]:
        return TINY[self.family]

    @cached_property
    def views(self) -> dict[str, View]:
        """role -> view, as the train stage opens them."""
        columns = {"main": self.entry["view"]["columns"]}
        columns |= {"second": self.entry["second"]} if "second" in self.entry else {}
        return {role: self._view(VIEWS[role], chosen) for role, chosen in columns.items()}

    def _view(self, name: str, columns: dict[str, list[str]]) -> View:
        folder = self.folder / "outputs" / "views" / name
        shape = (IMAGES, *2 * [self.entry["view"]["size"]], self.entry["view"]["channels"])
        images = np.random.default_rng(len(name)).integers(0, 256, size=shape, dtype=np.uint8)
        index = {column: np.arange(IMAGES) % len(classes) for column, classes in columns.items()}
        write_view(folder, images=images, labels=index["label"], classes=tuple(columns["label"]))
        facts = json.loads((folder / "view.json").read_text()) | {"classes": columns}
        if length := self.entry["view"].get("context_length"):
            facts["context_length"] = length
            write_captions(folder, facts["counts"], length)
        boxed = self.entry["view"].get("boxes", {})
        if boxed:
            facts |= {"classes": columns | {"box_label": boxed["classes"]}, "max_boxes": boxed["most"]}
        (folder / "view.json").write_text(json.dumps(facts))
        for split in facts["counts"] if boxed else ():
            for key, array in random_boxes(**boxed).items():
                np.save(folder / f"{split}.{key}.npy", array)
        for split in facts["counts"]:
            for column in columns:
                np.save(folder / f"{split}.{column}.npy", index[column])
        return open_view(folder)

    def params(self, **train: Any) -> dict[str, Any]:
        """The content of params.yaml; ``train`` changes the run's train block."""
        params = toy_params()
        run = params["runs"].pop("toy")
        blocks = {"recipe": self.family, "view": VIEWS["main"], "model": self.entry["model"]}
        blocks |= {"train": SHARED | self.entry["train"] | train, "evaluate": self.entry.get("evaluate", {})}
        blocks |= {"export": self.entry.get("export", {})}
        second = {"run": "tiny", "stage": "train", "role": "second", "from": f"outputs/views/{VIEWS['second']}"}
        links = {"second": second} if "second" in self.entry else {}
        return params | {"pipeline": {"runs": ["tiny"]}, "runs": {"tiny": run | blocks}, "links": links}

    def parse(self, params: dict[str, Any]) -> RunSettings:
        """The run as the stages read it from params.yaml."""
        write_params(self.folder, params)
        text = json.dumps(params)
        if text not in self.parsed:
            self.parsed[text] = Workspace(self.folder).run("tiny").parsed()
        return self.parsed[text]

    def settings(self, **train: Any) -> RunSettings:
        return self.parse(self.params(**train))

    def build(self, **train: Any) -> Recipe:
        """The recipe at step 0."""
        return build_recipe(self.settings(**train), self.views, {})

    def train(
        self, recipe: Recipe | None = None, *, before: Before | None = None, checkpoints: Path | None = None, **train: Any
    ) -> tuple[Recipe, bytes]:
        """(the recipe, its curves) after a training; ``before`` is called at the beginning of each training step."""
        recipe = recipe or self.build(**train)
        step_of = recipe.training_step

        def watched(batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
            if before:
                before(recipe, step)
            return step_of(batches, step)

        recipe.training_step = watched  # type: ignore[method-assign]
        settings = self.settings(**train).train
        curves = loop.train(
            recipe,
            self.views,
            settings,
            device=torch.device("cpu"),
            precision="fp32",
            checkpoints=Checkpoints(checkpoints) if checkpoints else None,
            log=lambda step, point: None,
        )
        return recipe, curves.to_csv()

    def save(self, recipe: Recipe) -> None:
        """Write what the train stage leaves for the stages after it: weights, and the pointer files of links."""
        facts, settings = self.views["main"].facts, self.settings()
        write_outs(Workspace(self.folder), settings, facts, recipe=recipe, curves=Curves(), resolved={})
        if "second" in self.entry:
            pointer = self.folder / "outputs" / "links" / "tiny" / "train" / "second"
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.write_text(json.dumps({"path": f"outputs/views/{VIEWS['second']}", "md5": ""}))

    def batch(self, count: int) -> Batch:
        """The first ``count`` validation images."""
        return next(iter(self.views["main"].batches("validation", count)))


def write_captions(folder: Path, counts: dict[str, int], length: int) -> None:
    """Two captions of every image, of bytes, as the augment stage writes them; images with a remainder of 8 share theirs."""
    texts = [[f"no {index % 8}", f"the {index % 8}"] for index in range(IMAGES)]
    rows = [list(text.encode().ljust(length, b"\0")) for own in texts for text in own]
    for split, count in counts.items():
        np.save(folder / f"{split}.tokens.npy", np.array(rows[: 2 * count], dtype=np.uint8))
        np.save(folder / f"{split}.token_start.npy", np.arange(0, 2 * count + 1, 2))
        (folder / f"{split}.text.json").write_text(json.dumps(texts[:count]))


def random_boxes(classes: list[str], most: int) -> dict[str, np.ndarray]:
    """Boxes of ``IMAGES`` images, 0 to ``most`` each, inside the image."""
    source = np.random.default_rng(most)
    real = np.arange(most) < (np.arange(IMAGES) % (most + 1))[:, None]
    sides = source.uniform(0.2, 0.5, (IMAGES, most, 2))
    boxes = np.concatenate([source.uniform(0.3, 0.7, (IMAGES, most, 2)), sides], -1) * real[..., None]
    label = source.integers(0, len(classes), (IMAGES, most)) * real
    return {"boxes": boxes.astype(np.float32), "box_label": label, "box_mask": real}


def scattered(recipe: Recipe, spread: float = 0.1) -> Recipe:
    """The recipe with numbers added to all weights, so that no path is idle."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in recipe.parameters():  # type: ignore[attr-defined]
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return recipe


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return copy.deepcopy(dict(state))
