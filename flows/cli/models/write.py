"""``write``: set a text in handwriting, or any other style of a translator."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.core.config.strict import SettingsError
from flows.cli.arguments import add_place, project_of
from flows.cli.models.predict import add_model
from flows.predict.reading import loaded_model

MAX_TEXT = 10_000  # characters


def write_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("text", metavar="TEXT", help="what to write; a line break starts a new line")
    parser.add_argument("out", metavar="OUT", type=Path, help="the page, a .png file")
    parser.add_argument("--hand", metavar="FOLDER", type=Path, help="samples of one hand, dark on light: characters or lines")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the style, without --hand, and of what varies (0)")
    variation = "0: all characters in the mean style of --hand; 1: each in the style of one of its samples (0.3)"
    parser.add_argument("--variation", metavar="V", type=float, default=0.3, help=variation)
    parser.add_argument("--domain", metavar="D", help="the style's domain (default: handwritten, if the model has it)")
    parser.add_argument("--font", metavar="F", help="family or file to print with (default: the one of the run's data set)")
    parser.add_argument("--judge", metavar="RUN", help="classifier that reads it back (default: the one that the run links)")
    parser.add_argument("--ink", choices=("bright", "dark"), help="ink of the training pictures (default: by the data set)")
    parser.add_argument("--em", metavar="PIXELS", type=int, default=64, help="size of a character on the page (64)")
    parser.add_argument("--columns", metavar="N", type=int, default=24, help="characters of a line at most (24)")
    parser.add_argument("--no-sheet", dest="sheet", action="store_false", help="draw no page of prints and characters")
    add_place(parser)


def write(args: argparse.Namespace) -> int:
    """Set TEXT in a style of a translator from print to handwriting (MUNIT, StarGAN v2), character by character.

    The style is that of --hand, a folder with some samples, whose slant and spacing are kept, or one drawn from --seed. A
    diffusion model whose classes are characters draws those that it knows, each anew. A classifier reads the characters back;
    those that it reads otherwise are named. Beside OUT, OUT_characters.png shows each character below its print. A character
    that the font or the model lacks is an error.
    """
    limits = {"--variation": (args.variation, 0, 1), "--em": (args.em, 8, 512), "--columns": (args.columns, 1, 1000)}
    for name, (value, least, most) in {**limits, "--seed": (args.seed, 0, 2**31 - 1)}.items():
        if not least <= value <= most:
            raise SettingsError(f"{name}: {value} is not allowed: {least} to {most}")
    if args.out.is_dir() or args.out.suffix.lower() != ".png":
        raise SettingsError(f"OUT: {str(args.out)!r} is not allowed: the name of a .png file")
    check_text(args.text)
    project = project_of(args)
    with loaded_model(project, args.run, args.version, local=args.local) as model:
        from flows.predict.writing import write_text

        return write_text(args, project, model)


def check_text(text: str) -> None:
    """Raise SettingsError for a text without characters, of too many, or with control characters."""
    if not text.strip():
        raise SettingsError("TEXT: no character to write")
    if len(text) > MAX_TEXT:
        raise SettingsError(f"TEXT: {len(text):,} characters; at most {MAX_TEXT:,}")
    if wrong := sorted({f"U+{ord(letter):04X}" for letter in text if not letter.isprintable() and not letter.isspace()}):
        raise SettingsError(f"TEXT: control characters cannot be written: {' '.join(wrong)}")
