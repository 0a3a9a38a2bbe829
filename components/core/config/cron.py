"""Check cron strings without Prefect: ranges of the five fields, and a day that the calendar has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.core.config.strict import SettingsError

FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of each month, in a leap year
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
PART = re.compile(r"(\d+)(?:-(\d+))?(?:/(\d+))?")


def check_cron(text: str) -> None:
    """Raise ValueError if the cron string has a number out of range, or names a day that never comes, as in ``30 2 31 2 *``.

    What is not made of numbers, ``*``, ranges, lists and steps, is left to Prefect.
    """
    fields = dict(zip(FIELDS, text.split(), strict=False))
    if len(text.split()) != len(FIELDS):
        raise ValueError(f"no cron string of five fields: {' '.join(FIELDS)}")
    values = {name: _values(field, *FIELDS[name], name) for name, field in fields.items()}
    days, months = values["day"], values["month"]
    if fields["weekday"] != "*" or days is None or months is None:  # with a weekday either of both is enough
        return
    if all(day > LONGEST[month - 1] for day in days for month in months):
        raise ValueError(f"it never comes: no month {fields['month']} has a day {fields['day']}")


def check_schedules(block: object) -> None:
    """Check the cron strings of the block ``schedules``; SettingsError names the key."""
    for key, text in block.items() if isinstance(block, dict) else ():
        if key != "time_zone" and isinstance(text, str) and text:
            try:
                check_cron(text)
            except ValueError as error:
                raise SettingsError(f"schedules.{key}: {text!r} is not allowed: {error}") from None


def _values(field: str, low: int, high: int, name: str) -> set[int] | None:
    """Return the field's numbers; None if it is written otherwise. ValueError if one is out of range."""
    if name == "month":
        for number, month in enumerate(MONTHS, 1):
            field = re.sub(month, str(number), field, flags=re.IGNORECASE)
    parts = [PART.fullmatch(part.replace("*", f"{low}-{high}", 1)) for part in field.split(",")]
    if any(part is None for part in parts):
        return None
    return {number for part in parts if part for number in _range(part, low, high, name)}


def _range(part: re.Match[str], low: int, high: int, name: str) -> Iterator[int]:
    first, step = int(part[1]), int(part[3] or 1)
    last = int(part[2]) if part[2] else high if part[3] else first
    if not (low <= first <= high and low <= last <= high and step):
        raise ValueError(f"{name} {part[0]} is not within {low} to {high}")
    yield from range(first, last + 1, step)
