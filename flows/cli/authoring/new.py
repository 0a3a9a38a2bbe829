"""``new``: look at a folder of pictures, and write dataset, view and run into params.yaml."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.config.strict import SettingsError
from components.core.settings import PARAMS
from flows.cli.arguments import add_place, project_of
from flows.project import Project

if TYPE_CHECKING:
    from flows.new.look import Pictures
    from flows.new.table import Choice

CLASSES = 8  # that are listed


def new_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", metavar="[NAME] PATH", nargs="+", help="name of the blocks (default: of the folder), the pictures"
    )
    parser.add_argument("--name", metavar="NAME", help="the same as NAME")
    for block in ("dataset", "view", "run"):
        parser.add_argument(f"--{block}", metavar="NAME", help=f"name of the {block}, if it is not NAME")
    parser.add_argument("--view-only", action="store_true", help="write dataset and view, and no run")
    parser.add_argument("--dry-run", action="store_true", help="show the blocks, write nothing")
    add_place(parser)


def new(args: argparse.Namespace) -> int:
    """Look at pictures and write a dataset, a view and a run for them into params.yaml.

    PATH is a folder with a folder per class, with or without splits, or a table, COCO, VOC or YOLO data, whose boxes a detector
    learns to find. Every fault is named before anything is written. docs/new.md has the rules.
    """
    from dataclasses import replace

    from flows.new import write
    from flows.new.look import look
    from flows.new.rules import choose

    project, (name, path) = project_of(args), name_and_path(args.words, args.name)
    names = {block: getattr(args, block) or name for block in ("dataset", "view", "run")}
    file = project.folder / PARAMS
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    write.check_free(project.workspace, [(f"{block}s", given, {}) for block, given in names.items()])
    pictures = look(path)
    if pictures.faults:
        raise SettingsError("\n".join([f"{path}: nothing was written", *(f"  {line}" for line in pictures.faults)]))
    choice = choose(pictures)
    if args.view_only and choice.run is not None:
        choice = replace(choice, run=None, detect=None, reasons=(*choice.reasons, "no run: --view-only"))
    blocks = write.make_blocks(pictures, choice, write.relative(pictures.path, project.workspace), **names)
    write.check_free(project.workspace, blocks)
    text = write.added(before, blocks)
    write.check(project.workspace, text, blocks)
    print(describe(path, pictures, choice))
    if args.dry_run:
        print(write.shown(blocks), end="")
        return 0
    write.write(project.workspace, before, text)
    print(f"written to {os.path.relpath(file)}: " + ", ".join(f"{section}.{given}" for section, given, _ in blocks))
    print(f"next:  {next_command(project, names, choice)}")
    return 0


def name_and_path(words: list[str], name: str | None) -> tuple[str, Path]:
    """Return the blocks' name and the path of NAME PATH, or of PATH alone: the name is then that of the folder or file."""
    if len(words) > 2 or (len(words) == 2 and name is not None):
        raise SettingsError(f"NAME and PATH are expected, found {' '.join([*words, *filter(None, [name])])}")
    path = Path(words[-1])
    if not path.exists():
        raise SettingsError(f"PATH: {words[-1]!r} does not exist")
    plain = re.sub(r"[^a-z0-9]+", "_", path.resolve().stem.lower()).strip("_")
    return name or (words[0] if len(words) == 2 else plain), path


def describe(path: Path, pictures: Pictures, choice: Choice) -> str:
    """Format what was found and what was chosen, a line each."""
    lines = [f"{path}: {pictures.number:,} pictures, source {pictures.source}" + _splits(pictures)]
    if pictures.classes is not None:
        lines.append(f"  {counted(pictures.classes)}")
    if pictures.boxes is not None:
        lines.append(
            f"  {sum(pictures.boxes.values()):,} boxes, at most {pictures.most_boxes} a picture; {counted(pictures.boxes)}"
        )
    partly = f"; {pictures.decoded:,} of them were decoded" if pictures.decoded < pictures.number else ""
    lines.append(f"  median short side {pictures.short_side} pixels, {'grey' if pictures.grey else 'colour'}{partly}")
    return "\n".join([*lines, *(f"- {reason}" for reason in choice.reasons)])


def counted(classes: dict[str, int]) -> str:
    """Format the number of classes, and how many pictures or boxes the first have."""
    named = [f"{name} {count:,}" for name, count in list(classes.items())[:CLASSES]]
    more = [f"{len(classes) - CLASSES} more"] if len(classes) > CLASSES else []
    return f"{len(classes)} class{'es' if len(classes) != 1 else ''}: {', '.join([*named, *more])}"


def _splits(pictures: Pictures) -> str:
    return f", with splits {', '.join(pictures.splits)}" if pictures.splits else ""


def next_command(project: Project, names: dict[str, str], choice: Choice) -> str:
    """Return the command that uses the blocks."""
    study = f" --study {project.study}" if project.study else ""
    if choice.run is None:
        return f"dvc repro augment@{names['view']}, and look at outputs/views/{names['view']}/contact.png"
    return f"python -m flows run --runs {names['run']}{study}"
