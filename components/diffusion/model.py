"""The conditional model, and denoisers: what every sampler takes, an estimate of x_0."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .conditions import Condition
from .parametrisation import Target, to_x0
from .schedules import Line, Schedule, make_schedule

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (x_t [N, ...], t [] in [0, 1]) -> estimate of x_0 [N, ...]
ConditionalNetwork = Callable[[Tensor, Tensor, Condition], Tensor]  # (x_t, time input [N], condition) -> prediction
ConditionalDenoiser = Callable[[Tensor, Tensor, Condition], Tensor]  # (x_t, t [], condition) -> estimate of x_0


class ConditionalModel(nn.Module):
    """Network, caption encoder and noise schedule: the unit that is trained, averaged, exported and sampled.

    ``network``: a U-Net of x_t, time and conditions; ``captions``: tokens -> (vectors, mask), or None. With VDM's linear
    schedule and target eps the network's output is added to x_t, which at high noise is nearly eps (VDM, arXiv 2107.00630;
    "base measure" in its code).
    """

    def __init__(self, network: nn.Module, captions: nn.Module | None, *, schedule: str, num_steps: int | None, target: Target):
        super().__init__()
        self.network, self.captions, self.target = network, captions, target
        self.schedule = make_schedule(schedule, num_steps)
        self.adds_x = target == "eps" and isinstance(self.schedule, Line)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """x_t [N, C, H, W], time input [N], condition (label, tokens, low_resolution) -> prediction [N, C, H, W]."""
        given: dict[str, Tensor] = {key: condition[key] for key in ("label", "low_resolution") if key in condition}
        if self.captions is not None:
            given["text"], given["text_mask"] = self.captions(condition["tokens"])
        prediction: Tensor = self.network(x, time, **given)
        return prediction + x if self.adds_x else prediction

    def denoiser(self) -> ConditionalDenoiser:
        """Return (x_t, t [], condition) -> estimate of x_0."""
        return make_denoiser(self, self.schedule, self.target)


class Positional(nn.Module):
    """The model with its conditions, ``names``, as positional arguments: the signature of its ONNX graph."""

    def __init__(self, model: ConditionalModel, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, x: Tensor, time: Tensor, *conditions: Tensor) -> Tensor:
        prediction: Tensor = self.model(x, time, dict(zip(self.names, conditions, strict=True)))
        return prediction


def make_denoiser(network: ConditionalNetwork, schedule: Schedule, target: Target) -> ConditionalDenoiser:
    """Make an estimator of x_0 from a network that predicts ``target``."""

    def denoise(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        time = schedule.time_input(t).to(x).expand(x.shape[0])
        return to_x0(target, network(x, time, condition).to(x), x, schedule.log_snr(t))

    return denoise


def conditioned(denoiser: ConditionalDenoiser, condition: Condition) -> Denoiser:
    """Fix the condition: plain conditional sampling, or unconditional if it is empty."""
    return lambda x, t: denoiser(x, t, condition)


def clipped(denoiser: Denoiser, bound: float = 1.0) -> Denoiser:
    """Clip the estimate of x_0 to [-bound, bound] (DDPM). Apply it last: guidance combines unclipped estimates."""
    return lambda x, t: denoiser(x, t).clamp(-bound, bound)
