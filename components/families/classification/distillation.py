"""A small network learns what a large one answers: the losses of SSLD and SKL-UGI, and Hinton's.

SSLD (Cui et al. 2021, arXiv 2103.05959) learns from unlabelled pictures alone, SKL-UGI (PULC, Cui et al. 2022) from labelled
and unlabelled ones together; both by a symmetric divergence without temperature, and without a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from components.core.artifact import Artifact
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import Strict
from components.core.step import optimize
from components.families.classification.teacher import KEY, Teacher

EPSILON = 1e-12  # of symmetric_kl: PaddleClas' DMLLoss
TEMPERATURE = 4.0  # of kd: PaddleClas' KLDivLoss


class DistillSettings(Strict):
    """``train.distill``: what a student learns from the teacher that a link of role ``teacher`` gives it."""

    on: tuple[Literal["labelled", "unlabelled"], ...] = Field(
        default=("labelled",), description="pictures of the run's view, of the view with the role unlabelled, or both together"
    )
    loss: Literal["symmetric_kl", "kd"] = Field(
        default="symmetric_kl", description="half of both Kullback-Leibler divergences (SSLD), or Hinton's with a temperature"
    )
    temperature: float | None = Field(default=None, gt=0, description="of loss kd alone; null: 4")
    ground_truth: float = Field(
        default=0.0, ge=0, description="weight of the loss by the labels of the labelled pictures; 0: no label is read"
    )
    unlabelled_batch_size: int | None = Field(default=None, ge=1, description="per update; null: as many as batch_size")
    teacher_precision: Literal["fp32", "bf16"] | None = Field(
        default=None, description="of the teacher's arithmetic alone; null: as the training's"
    )
    labels: Literal["refuse", "ignore"] = Field(
        default="refuse", description="an unlabelled view whose pictures have classes: an error, or these are not read"
    )

    @model_validator(mode="after")
    def _agrees(self) -> DistillSettings:
        if not self.on or len(set(self.on)) < len(self.on):
            raise ValueError(f"on: {list(self.on)} is not allowed: labelled, unlabelled, or both, once each")
        if self.temperature is not None and self.loss != "kd":
            raise ValueError(f"temperature: not allowed with loss {self.loss}; it belongs to kd")
        if self.ground_truth and "labelled" not in self.on:
            raise ValueError("ground_truth: needs labelled pictures; add labelled to on")
        for key in ("unlabelled_batch_size", "labels"):
            if key in self.model_fields_set and "unlabelled" not in self.on:
                raise ValueError(f"{key}: not allowed without unlabelled in on")
        return self


def symmetric_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the pictures of [KL(q || p) + KL(p || q)] / 2 for logits [N, K]; p: the student's softmax, q: the teacher's.

    As PaddleClas computes it: K times the mean over N x K of q log((q + e) / (p + e)) / 2 + p log((p + e) / (q + e)) / 2.
    """
    p, q = precise(student).softmax(1), precise(teacher).softmax(1)
    ratio = ((q + EPSILON) / (p + EPSILON)).log()
    return p.shape[1] * (0.5 * (q - p) * ratio).mean()


def symmetric_kl_of_several(student: Tensor, teacher: Tensor) -> Tensor:
    """The same of several classes per image: sigmoids, K times the mean over the pictures of the sum over the classes.

    As PaddleClas with ``act: sigmoid`` and ``sum_across_class_dim``: K times what the softmax's mean would be.
    """
    p, q = precise(student).sigmoid(), precise(teacher).sigmoid()
    ratio = ((q + EPSILON) / (p + EPSILON)).log()
    return p.shape[1] * (0.5 * (q - p) * ratio).sum(1).mean()


def knowledge_distillation(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """T^2 KL(q || p), mean over the pictures, of logits [N, K] divided by T (Hinton et al. 2015, arXiv 1503.02531)."""
    p = (precise(student) / temperature).log_softmax(1)
    q = (precise(teacher) / temperature).softmax(1)
    return temperature**2 * F.kl_div(p, q, reduction="batchmean")


def precise(logits: Tensor) -> Tensor:
    """Return the logits in float32, or in float64 if they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


@dataclass(frozen=True)
class Distillation:
    """The settings at work: streams, pictures and the update of a recipe with ``classifier``, ``optimizers``, ``objective``.

    ``several``: an image may have several classes.
    """

    settings: DistillSettings
    teacher: Teacher
    several: bool = False

    @classmethod
    def build(
        cls, settings: DistillSettings | None, views: Mapping[str, ViewFacts], links: Mapping[str, Artifact], column: str
    ) -> Distillation | None:
        """Return None without settings, and without a teacher: stages after the training need none.

        ``column``: "label", or "labels" of several classes per image.
        """
        if settings is None or "teacher" not in links:
            return None
        if column == "labels" and settings.loss != "symmetric_kl":
            raise ValueError(f"{KEY}.loss: {settings.loss} is not allowed with several classes per image (labels)")
        if "unlabelled" in settings.on:
            check_unlabelled(settings, views)
        return cls(
            settings, Teacher.read(links["teacher"], views["main"], column, settings.teacher_precision), column == "labels"
        )

    def streams(self, labelled: Stream) -> dict[str, Stream]:
        """Return the streams of an update: ``labelled`` as "train", unlabelled pictures as "unlabelled"."""
        number = self.settings.unlabelled_batch_size or labelled.batch_size
        every = {"labelled": ("train", labelled), "unlabelled": ("unlabelled", Stream("unlabelled", number))}
        return dict(every[kind] for kind in ("labelled", "unlabelled") if kind in self.settings.on)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of logits [N, K]."""
        if self.settings.loss == "kd":
            return knowledge_distillation(student, teacher, self.settings.temperature or TEMPERATURE)
        return symmetric_kl_of_several(student, teacher) if self.several else symmetric_kl(student, teacher)

    def agreement(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Share of the pictures, of several classes share of the answers, in which both decide the same."""
        same = (student > 0) == (teacher > 0) if self.several else student.argmax(1) == teacher.argmax(1)
        return same.float().mean()

    def training_step(self, recipe: Any, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """Update the student on the pictures of all streams as one batch, which the teacher sees as they are here."""
        batches = {role: recipe.augmented(batch, step, role) for role, batch in batches.items()}
        image = torch.cat([batch["image"] for batch in batches.values()])
        logits, _ = recipe.classifier(image)
        answer = self.teacher(image)
        terms = {"distillation": self.loss(logits, answer)}
        if self.settings.ground_truth:
            labelled = batches["train"]  # the first rows
            truth = recipe.objective(logits[: len(labelled["image"])], labelled)
            terms["ground_truth"] = self.settings.ground_truth * truth
        loss = optimize(terms, recipe.optimizers["network"], clip_norm=recipe.settings.clip_norm)
        return {"loss": loss, **(terms if len(terms) > 1 else {}), "teacher_agreement": self.agreement(logits, answer)}


def check_unlabelled(settings: DistillSettings, views: Mapping[str, ViewFacts]) -> None:
    """Raise ValueError unless there is an unlabelled view of the same shape, without classes or with labels to be ignored."""
    main, view = views["main"], views.get("unlabelled")
    if view is None:
        raise ValueError(f"{KEY}.on: unlabelled needs a link of role unlabelled to a view")
    if (view.image_size, view.channels) != (main.image_size, main.channels):
        shapes = [f"{v.image_size} pixels and {v.channels} channel(s)" for v in (view, main)]
        raise ValueError(f"{KEY}.on: the unlabelled view {view.name!r} has {shapes[0]}, view {main.name!r} {shapes[1]}")
    names = view.classes.get("label") or view.classes.get("labels") or ()
    if len(names) > 1 and settings.labels == "refuse":
        raise ValueError(f"{KEY}.labels: the unlabelled view {view.name!r} has {len(names)} classes; labels: ignore allows it")
