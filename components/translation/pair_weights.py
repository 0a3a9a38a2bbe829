"""Starting weights of MUNIT and UNIT: another run's, or the authors' files, of both domains at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from components.networks.published import ClassNames, Fitted, Note, listed, taken_whole
from components.networks.translator_blocks import of_domain

if TYPE_CHECKING:
    from components.translation.pairs import PairRecipe

PUBLISHED = ("a", "b")  # domain 0 and 1 in the published files


@dataclass(frozen=True)
class Side:
    """The networks of one side of a recipe, ``name``: "autoencoders" or "discriminators"."""

    recipe: PairRecipe
    name: str

    def load_published(self, state: dict[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load another run's weights (given to the auto-encoders: both sides'), or a published file of this side.

        A published ``gen_*.pt`` or ``dis_*.pt`` holds {"a": tensors, "b": tensors}, or tensors named "a.<name>" and "b.<name>".
        ValueError, without changing a weight, if ``state`` is neither this recipe's nor a published file's.
        """
        notes = self.of_domains(names)
        if any(name.startswith(f"{self.name}.") for name in state):
            own = {name: w for name, w in state.items() if name.startswith(f"{self.name}.")}
            both = self.name == "autoencoders"
            taken_whole(self.recipe, state if both else self.recipe.state_dict() | own)
            return Fitted(len(state if both else own), notes)
        networks: Any = getattr(self.recipe, self.name)
        found = [published_domain(state, domain) for domain in PUBLISHED]
        kept = [{name: w.clone() for name, w in network.state_dict().items()} for network in networks]
        try:
            taken = sum(network.load_published(tensors).taken for network, tensors in zip(networks, found, strict=True))
        except ValueError:
            for network, tensors in zip(networks, kept, strict=True):
                network.load_state_dict(tensors)
            raise
        return Fitted(taken, notes)

    def of_domains(self, names: ClassNames | None) -> tuple[Note, ...]:
        """Return a note if the file's domains are others, or not named: its first network becomes domain 0's all the same."""
        if names is None or names.file == names.own:
            return ()
        theirs = "a and b" if names.file is None else listed(names.file)
        return (Note("kept", "domains", f"the file's {theirs} become {listed(names.own)}, in this order"),)


def published_domain(state: dict[str, Any], domain: str) -> dict[str, Tensor]:
    """One domain's tensors, nested or with the domain before each name."""
    flat = {name.removeprefix(f"{domain}."): w for name, w in state.items() if name.startswith(f"{domain}.")}
    return flat or of_domain(state, domain)
