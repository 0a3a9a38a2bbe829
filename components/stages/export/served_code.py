"""Copy the served code into an export, as a package in which relative imports work as in the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.stages.code.closure import closure

COMPONENTS = Path(__file__).resolve().parents[2]
ENTRY = (
    '"""The served code of this export; its modules lie in code/, laid out as in the repository."""\n\nfrom .{} import Served\n'
)


def write_code(family: str, out: Path) -> None:
    """Write ``served.py`` and ``code/``: the family's served code and every file that it imports, in functions too."""
    for file in served_files(family):
        (out / "code" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(COMPONENTS / file, out / "code" / file)
    (out / "served.py").write_text(ENTRY.format(f"families.{family}.served"), encoding="utf-8")


def served_files(family: str) -> list[str]:
    """Return the files below components/ that the family's served code consists of."""
    return closure([f"families/{family}/served.py"])
