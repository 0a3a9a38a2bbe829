"""Choose the reader of a file by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from components.stages.fetch.handwriting.dgrl import read_dgrl, read_header
from components.stages.fetch.handwriting.find import OR3C, TOUCHING, labels_of
from components.stages.fetch.handwriting.gnt import read_gnt
from components.stages.fetch.handwriting.hcl2000 import read_hcl
from components.stages.fetch.handwriting.or3c import read_images, read_labels, read_vectors
from components.stages.fetch.handwriting.pot import read_pot
from components.stages.fetch.handwriting.reading import Parts, Place, Reader
from components.stages.fetch.handwriting.samples import Sample


def read_file(place: Place, places: list[Place], parts: Parts, unit: str) -> Iterator[Sample]:
    """Yield the samples of a file. ``places``: all files, for codes beside; ``unit``: of .dgrl. ValueError as its reader."""
    path = PurePosixPath(place.name)
    suffix = path.suffix.lower()
    with Reader(place) as reader:
        if match := OR3C.match(path.name):
            with Reader(labels_of(place, places)) as beside:
                codes = read_labels(beside)
            yield from (read_images if match.group(2) == "images" else read_vectors)(reader, parts, codes)
        elif suffix == TOUCHING:
            refuse_touching(reader)
        elif suffix == ".dgrl":
            yield from read_dgrl(reader, parts, unit)
        else:
            yield from {".gnt": read_gnt, ".pot": read_pot, ".hcl": read_hcl}[suffix](reader, parts)


def refuse_touching(reader: Reader) -> None:
    """Read what is public of CASIA-HWDB-T, its header, and raise ValueError with what it says and why no more is read."""
    header = read_header(reader, "TCS")
    known = f"codes {header.code_type or '?'} of {header.code_length} bytes, {header.illustration or 'no illustration'}"
    fault = "its records (stroke width, line height, touching points) go on in a way that no public specification gives"
    raise ValueError(f"{reader.place.name}: CASIA-HWDB-T, touching characters ({known}): {fault}: not read")
