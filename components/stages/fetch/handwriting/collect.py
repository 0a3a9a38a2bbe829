"""Collect the samples of all files as pictures with characters, and count codes that are unknown or padded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.pictures import Picture
from components.stages.fetch.handwriting.codes import decode, is_padded
from components.stages.fetch.handwriting.dgrl import LINE_BREAK
from components.stages.fetch.handwriting.find import writer_of
from components.stages.fetch.handwriting.formats import read_file
from components.stages.fetch.handwriting.reading import Parts, Place
from components.stages.fetch.handwriting.samples import Sample

NAMED = 5  # codes or files in a line of the log


@dataclass
class Collector:
    """A reader of files one after the other. ``only``: characters to take, None for all; ``unit``: of .dgrl.

    ``skip_unknown``: leave out and count samples with a code that is no character, else they are faults; ``cut``: keep what
    stands before the break of a broken file, else it is a fault; ``people``: writer -> further columns, or None.
    """

    faults: Faults
    writer: re.Pattern[str]
    only: Collection[str] | None = None
    unit: str = "line"
    skip_unknown: bool = False
    cut: bool = False
    people: dict[str, dict[str, str]] | None = None
    parts: Parts = field(default_factory=Parts)
    unknown: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # unknown code -> where it stands first
    padded: Counter[str] = field(default_factory=Counter)
    others: int = 0
    broken: list[str] = field(default_factory=list)
    _codes: dict[bytes, str | None] = field(default_factory=dict)  # a character is one string, however often it is written

    def collect(self, place: Place, places: list[Place]) -> list[Picture]:
        """Return the pictures of a file; what is wrong becomes a fault, or is counted."""
        pictures: list[Picture] = []
        try:
            columns = self._columns(writer_of(place, self.writer), place)
            for sample in read_file(place, places, self.parts, self.unit):
                text = self._text(sample, place)
                if text is not None:
                    pictures.append(self._picture(sample, text, place, columns))
        except ValueError as error:
            if self.cut and pictures:
                self.broken.append(str(error))
            else:
                self.faults.add(str(error))
        return pictures

    def _columns(self, writer: str, place: Place) -> dict[str, str]:
        if self.people is None:
            return {"group": writer}
        if writer not in self.people:
            raise ValueError(f"{place.name}: the writer {writer!r} is not in the table of writers")
        return {"group": writer, **self.people[writer]}

    def _text(self, sample: Sample, place: Place) -> str | None:
        """Return the characters of a sample; None if they are unknown or not wanted."""
        characters = []
        for code in sample.codes:
            if code not in self._codes:
                self._codes[code] = "\n" if code == LINE_BREAK else decode(code)
            character = self._codes[code]
            if character is None:
                self.unknown[code.hex()] += 1
                self.first.setdefault(code.hex(), f"{place.name}: record {sample.record}")
                return None
            self.padded[character] += is_padded(code)
            characters.append(character)
        if self.only is not None and (len(characters) != 1 or characters[0] not in self.only):
            self.others += 1
            return None
        return characters[0] if len(characters) == 1 else "".join(characters)

    def _picture(self, sample: Sample, text: str, place: Place, columns: dict[str, str]) -> Picture:
        name = f"{place.name}/{sample.record:06d}{sample.suffix}"
        if place.name.lower().endswith(".dgrl"):
            return Picture(name, sample.content, dict(columns), [text])
        return Picture(name, sample.content, {"label": text, **columns})

    def conclude(self) -> list[str]:
        """Return lines for the log about what was counted; unknown codes become faults unless they are to be skipped."""
        for code, count in self.unknown.items() if not self.skip_unknown else ():
            hint = "unknown_codes: skip leaves such samples out and counts them"
            self.faults.add(f"{self.first[code]}: the code {code} is no character ({count:,} samples); {hint}")
        lines = [f"{line}; what stands before is read" for line in self.broken]
        if self.unknown and self.skip_unknown:
            lines.append(
                f"{self.unknown.total():,} samples are left out for a code that is no character: {_named(self.unknown)}"
            )
        if padded := +self.padded:
            lines.append(f"{padded.total():,} codes are shorter than their field and filled with NUL: {_named(padded)}")
        if self.others:
            lines.append(f"{self.others:,} samples of other characters are left out")
        return lines


def _named(counts: Counter[str]) -> str:
    more = f", and {len(counts) - NAMED} more" if len(counts) > NAMED else ""
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common(NAMED)) + more
