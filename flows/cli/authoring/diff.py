"""``diff``: show what changed in a view between two commits."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from components.core import settings
from components.core.config.strict import must_exist
from flows.cli.arguments import add_place, project_of
from flows.dvc.stored import stored
from flows.versions.changes import KINDS, WORDS, Comparison, compare
from flows.versions.sheet import write_sheet, write_table
from flows.versions.version import Version, version_at, version_here

NAMED = 5  # pictures of a kind


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("view", metavar="VIEW", help="a view of params.yaml")
    parser.add_argument("old", metavar="REV1", help="a commit, branch or tag")
    parser.add_argument("new", metavar="REV2", nargs="?", help="another (default: the view as it is in this folder)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="for changes.csv and changes.png (default: .work/diff/VIEW)")
    add_place(parser)


def diff(args: argparse.Namespace) -> int:
    """Show which pictures of a view were added, removed, changed, relabelled, annotated, renamed or moved to another split.

    Writes all of them to changes.csv, and thumbnails to changes.png. Missing files are fetched from DVC's remote.
    """
    project = project_of(args)
    if args.new is None:
        must_exist(args.view, project.params.views, "VIEW")
    with stored(project) as store:
        old = version_at(project, store, args.view, args.old, "REV1")
        new = version_at(project, store, args.view, args.new, "REV2") if args.new else version_here(project, args.view)
        comparison = compare(old.pictures, new.pictures)
        title = f"{args.view}, {old.title} -> {new.title}: {len(old.pictures)} -> {len(new.pictures)} pictures"
        print(title, *describe(comparison), sep="\n")
        if comparison.changes:
            _write(args, title, comparison, old, new)
    return 0


def describe(comparison: Comparison) -> list[str]:
    """Return a line per kind of change, or that there is none."""
    lines = [f"  class {old} is now {new} ({column})" for column, old, new in comparison.renamed_classes]
    for kind in KINDS:
        changes = comparison.of(kind)
        if not changes:
            continue
        splits = Counter(picture.split for change in changes if (picture := change.new or change.old))
        counts = ", ".join(f"{split} {number}" for split, number in sorted(splits.items()))
        named = [change.detail if kind == "renamed" else f"{change.name} {change.detail}".strip() for change in changes[:NAMED]]
        more = ", ..." if len(changes) > NAMED else ""
        lines.append(f"  {kind:<10}  {len(changes):>6}  {WORDS[kind]} ({counts}): {', '.join(named)}{more}")
    return lines or ["  no difference"]


def _write(args: argparse.Namespace, title: str, comparison: Comparison, old: Version, new: Version) -> None:
    folder = args.out or settings.WORK / "diff" / args.view
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "changes.png").unlink(missing_ok=True)  # of another comparison
    write_table(folder / "changes.csv", comparison)
    missing = write_sheet(folder / "changes.png", title, comparison, old, new)
    for line in missing:
        print(f"  missing: {line}")
    files = [str(path) for path in (folder / "changes.csv", folder / "changes.png") if path.is_file()]
    print(f"  all of them: {', '.join(files)}")
