"""``docs``: write docs/settings.md from the classes that read params.yaml, or compare it with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.core.files import write_text
from components.core.settings import ROOT


def docs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page would change")
    parser.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="where to write (default: this clone)")


def docs(args: argparse.Namespace) -> int:
    """Write docs/settings.md. Exit code 1 if a setting has no meaning or, with --check, if the page would change."""
    from flows.reference.page import PAGE, page, unexplained

    path, text = args.project / PAGE, page()
    for setting in (faults := unexplained()):
        print(f"{setting} has no meaning; give its field a description", file=sys.stderr)
    differs = not path.is_file() or path.read_text(encoding="utf-8") != text
    if differs and args.check:
        print(f"{PAGE} is not of today's settings; `make docs` writes it", file=sys.stderr)
    elif differs:
        write_text(path, text)
        print(f"wrote {PAGE}")
    return 1 if faults or (differs and args.check) else 0
