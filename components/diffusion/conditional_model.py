"""A network with all that gives its answers a meaning: noise schedule, target, and the reader of captions if there is one."""

from __future__ import annotations

from torch import Tensor, nn

from .denoiser import Condition, ConditionalDenoiser, make_denoiser
from .making import make_schedule
from .parametrisation import Target
from .schedules import Line


class ConditionalModel(nn.Module):
    """What is trained, averaged, shipped and sampled.

    ``network``: a U-Net of x_t, time and conditions; ``captions``: tokens -> (vectors, mask), or None. With VDM's line and eps
    as target the network's answer is added to x_t: where there is much noise x_t is nearly eps (VDM, arXiv 2107.00630; its
    code's "base measure").
    """

    def __init__(self, network: nn.Module, captions: nn.Module | None, *, schedule: str, num_steps: int | None, target: Target):
        super().__init__()
        self.network, self.captions, self.target = network, captions, target
        self.schedule = make_schedule(schedule, num_steps)
        self.adds_x = target == "eps" and isinstance(self.schedule, Line)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """x_t [N, C, H, W], time input [N], condition (label, tokens, low_resolution) -> prediction of the target, like x_t."""
        given: dict[str, Tensor] = {key: condition[key] for key in ("label", "low_resolution") if key in condition}
        if self.captions is not None:
            given["text"], given["text_mask"] = self.captions(condition["tokens"])
        prediction: Tensor = self.network(x, time, **given)
        return prediction + x if self.adds_x else prediction

    def denoiser(self) -> ConditionalDenoiser:
        """(x_t, t [], condition) -> estimate of x_0."""
        return make_denoiser(self, self.schedule, self.target)


class Positional(nn.Module):
    """The model with its conditions, ``names``, as arguments in order: what an ONNX graph has."""

    def __init__(self, model: ConditionalModel, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, x: Tensor, time: Tensor, *conditions: Tensor) -> Tensor:
        prediction: Tensor = self.model(x, time, dict(zip(self.names, conditions, strict=True)))
        return prediction
