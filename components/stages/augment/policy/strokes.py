"""Settings of how pen strokes are drawn."""

from __future__ import annotations

from pydantic import Field

from components.core.config.strict import Strict


class StrokeSettings(Strict):
    """The block ``strokes`` of a view: pen strokes of a dataset become pictures of ``stored_size``, dark on white."""

    width: float = Field(default=2.5, gt=0, le=64, description="of the pen, in pixels of the picture")
    jitter: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Of angle, slant, shape, place of single strokes and width of the pen, drawn once for each character: "
        "0 none, 1 up to 8 degrees, 0.2 to the right for one upwards, 15 %, 4 % and 40 %.",
    )
    margin: float = Field(default=0.06, ge=0, lt=0.5, description="free border, as a share of the picture's sides")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="of the jitter; a character's draw depends on it and on its strokes"
    )
