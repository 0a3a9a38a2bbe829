"""``search``: the pictures that fit a text best."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.core import settings
from components.core.config.strict import SettingsError
from flows.cli.arguments import add_place, project_of
from flows.cli.models.predict import MAX_BATCH, add_model
from flows.predict.reading import loaded_model

MAX_TOP = 1000


def search_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("text", metavar="TEXT", help='what to look for: "two red letters"')
    what = "picture, folder (with all below it), text file with a path per line, or CSV or TSV with a column `file`"
    parser.add_argument("what", metavar="WHAT", nargs="+", help=what)
    parser.add_argument("--top", metavar="K", type=int, default=25, help="number of pictures (25)")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("search.csv"), help="table of the best (search.csv)")
    parser.add_argument("--index", metavar="FILE", type=Path, help="vectors of pictures (default: .work/search/, per version)")
    parser.add_argument("--batch", metavar="N", type=int, default=32, help="pictures that pass the network at once (32)")
    add_place(parser)


def search(args: argparse.Namespace) -> int:
    """Find the pictures that fit TEXT best, by a run of clip or limoe: search.csv (rank, file, score) and search.png.

    The score is the cosine of text and picture. The vectors of pictures are kept in an index, by the content of the files and
    the version of the model, so that the next search reads only what is new. Broken pictures are named and passed over.
    Exit code 1: all pictures are broken.
    """
    if not 1 <= args.top <= MAX_TOP:
        raise SettingsError(f"--top: {args.top} is not allowed: 1 to {MAX_TOP}")
    if not 1 <= args.batch <= MAX_BATCH:
        raise SettingsError(f"--batch: {args.batch} is not allowed: 1 to {MAX_BATCH}")
    if args.out.is_dir() or args.out.suffix.lower() != ".csv":
        raise SettingsError(f"--out: {str(args.out)!r} is not allowed: the name of a .csv file")
    with loaded_model(project_of(args), args.run, args.version, local=args.local) as model:
        from flows.predict.searching import search_pictures

        return search_pictures(args, model, settings.WORK / "search")
