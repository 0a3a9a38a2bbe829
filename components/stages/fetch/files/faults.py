"""Collect the faults of a source, so that one message lists them all."""

from __future__ import annotations

SHOWN = 20  # lines of one message


class Faults:
    """Faults found so far, one line each; ``check`` raises them together."""

    def __init__(self, where: object) -> None:
        self.where = where
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)

    def check(self) -> None:
        """Raise ValueError with the first ``SHOWN`` faults and the number of the others; do nothing without any."""
        if len(self.lines) == 1:
            raise ValueError(self.lines[0])
        if self.lines:
            raise ValueError(f"{self.where}: {len(self.lines)} faults\n{listed(self.lines)}")


def listed(lines: list[str]) -> str:
    """Indent the first ``SHOWN`` lines and count the rest."""
    rest = len(lines) - SHOWN
    return "\n".join(["  " + line for line in lines[:SHOWN]] + ([f"  ... and {rest} more"] if rest > 0 else []))
