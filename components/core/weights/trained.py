"""The network of a trained classifier, out of its run's weights.pt, for trainings that use it as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from components.core import catalogue
from components.core.artifact import Artifact
from components.core.settings import ModelSettings
from components.core.weights.reading import load_file

PREFIX = "classifier.network."  # of the network in a classification run's weights


@dataclass(frozen=True)
class TrainedClassifier:
    """``image_size``: a side or (height, width); ``mean``, ``std`` [1, C, 1, 1]: its standardisation; ``state``: of the run."""

    model: dict[str, Any]
    image_size: Any
    channels: int
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    state: dict[str, Tensor]

    @classmethod
    def read(cls, link: Artifact, key: str, column: str = "label") -> TrainedClassifier:
        """Read a linked run of the classes of ``column``. ValueError, which begins with ``key``, if it is none."""
        loaded = load_file(link.weights_file)
        try:
            settings, state = loaded["settings"], loaded["state"]
            view, size = settings["view"], settings["view"]["image_size"]
            return cls(
                dict(settings["model"]),
                size if isinstance(size, int) else tuple(size),
                view["channels"],
                tuple(view["classes"][column]),
                state["classifier.mean"],
                state["classifier.std"],
                state,
            )
        except (KeyError, TypeError):
            raise ValueError(f"{key}: {link.path} is not the weights.pt of a classification run") from None

    def network(self) -> Any:
        """Build the network with its weights, frozen and in eval mode."""
        options = {name: value for name, value in self.model.items() if name != "name"}
        facts = {"image_size": self.image_size, "channels": self.channels, "num_classes": len(self.classes)}
        network: nn.Module = catalogue.build_network(ModelSettings(str(self.model["name"]), options), facts)
        network.load_state_dict({k.removeprefix(PREFIX): v for k, v in self.state.items() if k.startswith(PREFIX)})
        return network.eval().requires_grad_(False)
