"""``graph``: copy dvc.yaml into the studies."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.core.settings import ROOT
from flows.dvc import graph_files


def graph_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a study's dvc.yaml differs")
    parser.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="another clone (default: this one)")


def graph(args: argparse.Namespace) -> int:
    """Copy the root's dvc.yaml into every study whose copy differs; ``--check`` only compares.

    Exit code 0: written, or nothing differs; 1: with ``--check``, a study's dvc.yaml differs.
    """
    root = args.project.resolve()
    if args.check:
        paths = graph_files.differing(root)
        for path in paths:
            print(f"error: {path.relative_to(root)} differs from dvc.yaml; `{graph_files.COMMAND}` writes it", file=sys.stderr)
        return 1 if paths else 0
    for path in graph_files.write(root):
        print(f"wrote {path.relative_to(root)}")
    return 0
