"""Frozen networks of vision-aided training: of a linked run, or of a published file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.contrastive.pairs import facts_without_text
from components.core import catalogue
from components.core.artifact import Artifact
from components.core.batch import ViewFacts
from components.core.config.run import ModelSettings
from components.core.standardise import standardisation
from components.core.weights.reading import load_file, without_prefixes
from components.core.weights.trained import TrainedClassifier
from components.families.stylegan2.settings import PublishedNetwork


class Backbone:
    """A frozen network: image [N, C, H, W] in [-1, 1] -> features [N, F]. It is no module: no checkpoint holds it.

    It takes images of its own size and standardisation; gradients reach the image.
    """

    def __init__(self, network: Any, mean: Tensor, std: Tensor, size: int, width: int):
        self.network = network
        self.mean, self.std, self.size, self.width = mean, std, size, width

    @classmethod
    def read(cls, role: str, link: Artifact, channels: int, published: PublishedNetwork | None = None) -> Backbone:
        """Build the network of a linked run's weights.pt, or of a file. ValueError for others, and for other channels.

        Features are those before a classifier's head, before a CLIP's projection, or the mean of SimMIM's last map.
        """
        if published:
            return _of_file(role, link, channels, published)
        loaded = load_file(link.weights_file)
        settings: Any = loaded.get("settings")
        recipe = settings.get("recipe") if isinstance(settings, Mapping) else None
        if recipe not in ENCODERS:
            return _of_classifier(role, link, channels)
        facts = ViewFacts(**settings["view"])
        size = _square(role, facts.image_size, facts.channels, channels)
        model = ModelSettings(settings["model"]["name"], {k: v for k, v in settings["model"].items() if k != "name"})
        network = ENCODERS[recipe](model, size, channels, loaded["state"])
        mean, std = standardisation(settings["train"].get("standardise", "view"), facts)
        return _frozen(network, mean, std, size, channels)

    def __call__(self, image: Tensor) -> Tensor:
        if (self.mean.device, self.mean.dtype) != (image.device, image.dtype):
            self.network.to(device=image.device, dtype=image.dtype)
            self.mean, self.std = self.mean.to(image), self.std.to(image)
        if image.shape[-1] != self.size:
            image = F.interpolate(image, size=(self.size, self.size), mode="bilinear", antialias=True)
        features: Tensor = self.network.features((image - self.mean) / self.std)
        return features


class PooledMap(nn.Module):
    """The encoder of masked image modelling: the mean of its last map."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder = encoder

    def features(self, image: Tensor) -> Tensor:
        """Standardised images [N, C, H, W] -> [N, D]; nothing is masked."""
        maps: Tensor = self.encoder.feature_map(image, nn.Identity())
        return maps.flatten(2).mean(2)


def _of_classifier(role: str, link: Artifact, channels: int) -> Backbone:
    trained = TrainedClassifier.read(link, f"link {role}")
    size = _square(role, trained.image_size, trained.channels, channels)
    network = trained.network()
    return Backbone(network, trained.mean, trained.std, size, network.head.in_features)


def _of_file(role: str, link: Artifact, channels: int, published: PublishedNetwork) -> Backbone:
    """Build a network for the images' channels and load a file into it, as a link ``init`` does; its head is not used."""
    key, size = f"train.vision.published.{role}", published.image_size
    facts = ViewFacts(key, size, channels, {}, (0.0,) * channels, (1.0,) * channels, {}, "")
    try:
        network = catalogue.build_network(published.settings, {"image_size": size, "channels": channels, "num_classes": 2})
        network.load_published(without_prefixes(link.weights().state, network.state_dict())[0], None)
        mean, std = standardisation(published.standardise, facts)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key} ({link.path}): {error}") from None
    return _frozen(network, mean, std, size, channels)


def _image_tower(model: ModelSettings, size: int, channels: int, state: Mapping[str, Tensor]) -> Any:
    clip: Any = catalogue.build_network(model, facts_without_text(size, channels))
    clip.visual.load_state_dict(_below(state, "clip.visual."))
    return clip.visual


def _masked_encoder(model: ModelSettings, size: int, channels: int, state: Mapping[str, Tensor]) -> Any:
    encoder: Any = catalogue.build_network(model, {"image_size": size, "channels": channels, "num_classes": 1})
    encoder.head = nn.Identity()
    encoder.load_state_dict(_below(state, "model.encoder."))
    return PooledMap(encoder)


ENCODERS = {"clip": _image_tower, "simmim": _masked_encoder}  # recipe -> its network out of a run's tensors


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _square(role: str, size: Any, own: int, channels: int) -> int:
    if own != channels:
        raise ValueError(f"link {role}: it takes {own} channel(s), these images have {channels}")
    if not isinstance(size, int):
        raise ValueError(f"link {role}: it takes images of {size[0]} x {size[1]}, these are square")
    return size


def _frozen(network: Any, mean: tuple[float, ...], std: tuple[float, ...], size: int, channels: int) -> Backbone:
    """Freeze the network, in eval mode; the width of its features is that of an empty image's."""
    network = network.eval().requires_grad_(False)
    with torch.no_grad():
        width = network.features(torch.zeros(1, channels, size, size)).shape[1]
    shape = (1, channels, 1, 1)
    return Backbone(network, torch.tensor(mean).view(shape), torch.tensor(std).view(shape), size, width)
