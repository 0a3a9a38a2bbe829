"""Whether the clone lies at a place where DVC, Prefect and MLflow work, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.core import settings
from components.core.config.strict import SettingsError, refuse
from components.core.outputs import OUTPUTS, require_inside

FORBIDDEN = {  # character -> what it breaks
    ":": "PATH, which separates folders by it",
    "?": "the addresses of the databases, in which options follow it",
    "%": "the addresses of the databases and Alembic's settings, in which it starts an escape",
}


def check_place(root: Path, study: str | None = None) -> None:
    """Check the paths of the clone and of its state folder, and that ``outputs`` does not leave the clone.

    SettingsError names every character that does not work, or the link.
    """
    refuse(_faults(root, study))


def _faults(root: Path, study: str | None) -> Iterator[str]:
    places = {"the clone": root, "the state folder (DARKROOM_WORK)": settings.WORK}
    for what, path in places.items():
        wrong = [f"{character!r} breaks {why}" for character, why in FORBIDDEN.items() if character in str(path)]
        if wrong:
            yield f"{path}: {what} cannot be there: {'; '.join(wrong)}; move it to a path without"
            return
    folder = root / "experiments" / study if study else root
    try:
        require_inside(folder / OUTPUTS, root)
    except SettingsError as error:
        yield str(error)
