"""The toy's network."""

from torch import Tensor, nn


class Coder(nn.Module):
    def __init__(self, *, image_size: int, channels: int, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)
