"""Settings of a LIMoE run's block ``train``: those of pairs, and of the routers."""

from __future__ import annotations

from pydantic import Field, model_validator

from components.contrastive.settings import PairSettings

ROUTERS = ("capacity_factor", "groups", "router_noise", "image_experts", "text_experts")
WEIGHTS = (
    "image_local_entropy",
    "text_local_entropy",
    "image_global_entropy",
    "text_global_entropy",
    "importance",
    "load",
    "z_loss",
)


class TrainSettings(PairSettings):
    """The recipe's part of the ``train`` block. The losses of the routers are summed over the mixtures, each by its weight."""

    capacity_factor: float | None = Field(
        default=1.05, gt=0, description="tokens that an expert takes in training, by its equal share (V-MoE: 1.05); null: all"
    )
    groups: int = Field(default=1, ge=1, description="into which a batch's pairs are divided, each with a capacity of its own")
    router_noise: float = Field(default=1.0, ge=0, description="deviation of the noise on logits, times 1 / experts (V-MoE: 1)")
    image_experts: int | None = Field(
        default=None, ge=1, description="S: experts that patches are to use at least; null: half of them, rounded up"
    )
    text_experts: int | None = Field(
        default=None, ge=1, description="S: experts that tokens of text are to use at least; null: a quarter, at least 2"
    )
    image_local_entropy: float = Field(default=0.0, ge=0, description="weight of the entropy of a patch's probabilities")
    text_local_entropy: float = Field(default=0.04, ge=0, description="weight of the entropy of a text token's probabilities")
    image_global_entropy: float = Field(
        default=0.04, ge=0, description="weight of max(0, log S - H), H the entropy of the mean over all patches of the batch"
    )
    text_global_entropy: float = Field(default=0.04, ge=0, description="weight of the same over the tokens of all texts")
    importance: float = Field(default=0.005, ge=0, description="weight of the variation of the experts' probabilities (V-MoE)")
    load: float = Field(default=0.005, ge=0, description="weight of the variation of the experts' chances to be chosen (V-MoE)")
    z_loss: float = Field(default=0.001, ge=0, description="weight of the squared log of the sum of exponentials (ST-MoE)")

    @model_validator(mode="after")
    def _can_be_routed(self) -> TrainSettings:
        if self.batch_size % self.groups:
            raise ValueError(f"groups: {self.groups} is not allowed: it does not divide the batch_size {self.batch_size}")
        if self.load and not self.router_noise:
            raise ValueError(f"load: {self.load} is not allowed without router_noise, which it is the chance of; write load: 0")
        return self

    def least(self, modality: str, experts: int) -> int:
        """Return S of a modality, "image" or "text"."""
        given = self.image_experts if modality == "image" else self.text_experts
        return given or (-(-experts // 2) if modality == "image" else max(2, experts // 4))
