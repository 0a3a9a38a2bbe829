"""How a picture becomes an input of a model: size, colour, fit. Standard library only: every command imports this."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Preparation:
    """The settings of a view that affect a single picture; ``facts.json`` of an export holds them under ``preparation``.

    ``image_size`` and ``stored_size``: (height, width) in pixels; a picture is fitted to ``stored_size`` and an evaluation
    takes the centre of ``image_size``. ``background``: colour under transparent pixels, #rrggbb. ``levels``: (black, white) of
    grey pictures with 16 bits a pixel, None for (0, 65535). ``max_pixels``: of a picture that is decoded whole, None for
    Pillow's limit.
    """

    image_size: tuple[int, int]
    stored_size: tuple[int, int]
    channels: Literal[1, 3]
    fit: Literal["crop", "pad", "stretch"] = "crop"
    pad_value: int = 0
    background: str = "#ffffff"
    levels: tuple[int, int] | None = None
    max_pixels: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values: lists for tuples."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Preparation:
        """Invert ``to_json``. ValueError names keys that are unknown or missing."""
        known = [field.name for field in fields(cls)]
        required = {"image_size", "stored_size", "channels"}
        if wrong := sorted(set(content) - set(known)) + sorted(required - set(content)):
            raise ValueError(f"preparation: {', '.join(wrong)} unknown or missing; the keys are {', '.join(known)}")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        return cls(**values)
