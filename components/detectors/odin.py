"""ODIN (Liang et al. 2018, arXiv 1706.02690): temperature scaling and input perturbation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import require_classes

IMAGE_RANGE = 2.0  # images are in [-1, 1], the paper's epsilon is for pixels in [0, 1]


class ODIN(Fitted):
    """max_k softmax(f(x') / T)_k at x' = x - epsilon sign(-grad_x log S(x; T)), eq. 1 and 2. Nothing is fitted.

    It needs the network and a gradient of its input: use ``score_images``; the detector cannot be exported.
    A pixel with a gradient of exactly 0 is unchanged (the paper's sign; published code takes +1).

    ``temperature``: T (> 0); ``epsilon`` (>= 0): the size of the step for pixels in [0, 1].
    """

    name: ClassVar[str] = "odin"
    needs_gradient: ClassVar[bool] = True

    def __init__(self, *, temperature: float = 1000.0, epsilon: float = 0.0014):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature} is not allowed: above 0")
        if not epsilon >= 0:
            raise ValueError(f"epsilon: {epsilon} is not allowed: at least 0")
        self.temperature, self.epsilon = temperature, epsilon

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        require_classes(head, self.name, "every image has probability 1")

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        raise ValueError(
            "odin: the score needs a gradient by the input image, which features and logits (and an exported graph) do not "
            "have; use score_images with the network in torch, or another detector"
        )

    def score_images(self, network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Score ``image`` [n, C, H, W] in [-1, 1]; ``network`` (in eval mode) maps it to logits [n, K]. Returns [n].

        The parameters of the network get no gradient.
        """
        image = image.detach().requires_grad_()
        with torch.enable_grad():
            loss = -self._log_confidence(network(image)).sum()  # a sum: the step of one image knows no other
            (gradient,) = torch.autograd.grad(loss, image)
        with torch.no_grad():
            perturbed = image - self.epsilon * IMAGE_RANGE * gradient.sign()
            return self._log_confidence(network(perturbed)).exp()

    def _log_confidence(self, logits: Tensor) -> Tensor:
        """Compute log S(x; T) = log max_k softmax(logits / T)_k, [n], at least in float32."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return (logits / self.temperature).log_softmax(1).amax(1)
