"""LPIPS (Zhang et al. 2018, arXiv 1801.03924): how far apart two images are in AlexNet's features, weighted by human judgement.

Names and sizes are those of two published files: torchvision's AlexNet (its classifier is not needed) and version 0.1 of the
authors' linear weights. Version 0.1 standardises the images, which version 0.0 left out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .published import load_fitting

SMALLEST = 31  # pixels: the second pool still has its 3 x 3 window
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of natural images in [-1, 1], a channel
WIDTHS = (64, 192, 384, 256, 256)
TINY = 1e-10


class LPIPS(nn.Module):
    """Pairs of images -> distance; 0 for a pair of equal ones. 2,469,696 parameters of AlexNet, 1,152 weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        convs = {
            "0": nn.Conv2d(3, WIDTHS[0], 11, stride=4, padding=2),
            "3": nn.Conv2d(WIDTHS[0], WIDTHS[1], 5, padding=2),
            "6": nn.Conv2d(WIDTHS[1], WIDTHS[2], 3, padding=1),
            "8": nn.Conv2d(WIDTHS[2], WIDTHS[3], 3, padding=1),
            "10": nn.Conv2d(WIDTHS[3], WIDTHS[4], 3, padding=1),
        }
        self.features = nn.ModuleDict(convs)
        for layer, width in enumerate(WIDTHS):
            inner = nn.ModuleDict({"1": nn.Conv2d(width, 1, 1, bias=False)})
            self.add_module(f"lin{layer}", nn.ModuleDict({"model": inner}))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two float32 [N, 3, H, W] in [-1, 1], H and W >= 31 -> [N]."""
        return self.distance(self.directions(a), self.directions(b))

    def directions(self, image: Tensor) -> list[Tensor]:
        """float32 [N, 3, H, W] in [-1, 1] -> five [N, C, H', W']: the features after each ReLU, each place of length 1."""
        if min(image.shape[2:]) < SMALLEST:
            raise ValueError(
                f"image: {list(image.shape[2:])} pixels are too few for AlexNet: at least {SMALLEST} a side are needed"
            )
        x, found = (image - self.mean) / self.deviation, []
        for name, conv in self.features.items():
            x = F.relu(conv(F.max_pool2d(x, 3, 2) if name in ("3", "6") else x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + TINY))
        return found

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Equation 1: the weighted squared difference, averaged over places, summed over layers. [N]."""
        terms = []
        for layer, (one, other) in enumerate(zip(a, b, strict=True)):
            weight = self.get_parameter(f"lin{layer}.model.1.weight")
            terms.append(F.conv2d((one - other).square(), weight).mean((1, 2, 3)))
        return torch.stack(terms).sum(0)

    def load_published(self, alexnet: dict[str, Tensor], linear: dict[str, Tensor]) -> None:
        """Load torchvision's AlexNet and version 0.1's weights. ValueError lists what does not fit; nothing then changes."""
        load_fitting(self, {name: value for name, value in alexnet.items() if not name.startswith("classifier.")} | linear)


def within_styles(network: LPIPS, pixels: np.ndarray, smallest: int) -> np.ndarray:
    """Mean distance of two of the S images of each input, uint8 [N, S, H, W, 1 or 3], S >= 2 -> float64 [N].

    Images of less than ``smallest`` pixels are enlarged to them, bilinearly: a metric's name should tell it.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 5 or pixels.shape[-1] not in (1, 3) or pixels.shape[1] < 2:
        raise ValueError(f"pixels: uint8 [N, 2 or more, H, W, 1 or 3] are expected, found {pixels.dtype} {list(pixels.shape)}")
    network.eval()
    first, second = np.triu_indices(pixels.shape[1], 1)
    found = []
    with torch.inference_mode():
        for images in pixels:
            image = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
            directions = network.directions(enlarged(image, smallest).expand(-1, 3, -1, -1))
            pairs = ([layer[index] for layer in directions] for index in (first, second))
            found.append(float(network.distance(*pairs).double().mean()))
    return np.array(found)


def enlarged(image: Tensor, smallest: int) -> Tensor:
    """[N, C, H, W] as it is, or with the shorter side ``smallest``."""
    side = min(image.shape[2:])
    if side >= smallest:
        return image
    shape = [round(length * smallest / side) for length in image.shape[2:]]
    return F.interpolate(image, shape, mode="bilinear", align_corners=False)
