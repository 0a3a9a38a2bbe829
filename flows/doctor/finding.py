"""What a check of the doctor returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class NotMended(Exception):
    """A finding could not be mended; says why, and what to do instead."""


@dataclass(frozen=True)
class Finding:
    """A fault: ``what`` is wrong ``where``, and the ``remedy``: what ``mend`` does, or what a person does where it is None."""

    what: str
    where: str
    remedy: str
    mend: Callable[[], object] | None = None
