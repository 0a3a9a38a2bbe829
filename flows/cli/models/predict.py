"""``predict``: classify or translate pictures, or detect objects in them, with a run's champion, or another version of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.core.config.strict import SettingsError
from flows.cli.arguments import add_place, project_of
from flows.predict.reading import loaded_model

MAX_BATCH = 4096


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add RUN, ``--version`` and ``--local``."""
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--version", metavar="N", type=int, help="a registered version (default: the champion, else the candidate)"
    )
    which.add_argument("--local", action="store_true", help="the export in outputs/export/RUN, registered or not")


def predict_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    what = "picture, folder (with all below it), text file with a path per line, or CSV or TSV with a column `file`"
    parser.add_argument("what", metavar="WHAT", nargs="+", help=what)
    parser.add_argument("--out", metavar="FILE", type=Path, help="predictions.csv; with --domain a new folder, RUN_DOMAIN")
    parser.add_argument("--jsonl", action="store_true", help="also write JSON lines, beside the CSV file")
    parser.add_argument("--batch", metavar="N", type=int, default=32, help="pictures that pass the network at once (32)")
    parser.add_argument("--domain", metavar="D", help="translate into this domain, and write the pictures")
    score = "of a detector: objects with a score below it are left out (0.5)"
    parser.add_argument("--threshold", metavar="S", type=float, default=0.5, help=score)
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the styles of --domain (0)")
    parser.add_argument("--no-sheet", dest="sheet", action="store_false", help="draw no page of the surest and the least sure")
    add_place(parser)


def predict(args: argparse.Namespace) -> int:
    """Classify pictures, of any size and number, detect objects in them, or translate them into a domain.

    Writes predictions.csv (file, label, probability, top5, ood_score, is_ood) and predictions.png, the 25 surest and the 25
    least sure; of a detector a row per object: file, label, score and corners in pixels. Broken pictures are
    named and passed over. Exit code 1: all pictures are broken.
    """
    if not 1 <= args.batch <= MAX_BATCH:
        raise SettingsError(f"--batch: {args.batch} is not allowed: 1 to {MAX_BATCH}")
    if args.seed < 0:
        raise SettingsError(f"--seed: {args.seed} is not allowed: at least 0")
    if not 0 < args.threshold < 1:
        raise SettingsError(f"--threshold: {args.threshold} is not allowed: between 0 and 1")
    with loaded_model(project_of(args), args.run, args.version, local=args.local) as model:
        if args.domain is None and model.kind == "detector":
            from flows.predict.detecting import detect_objects

            return detect_objects(args, model)
        if args.domain is None:
            model.must_be("classifier", "predict")
            from flows.predict.classifying import classify_pictures

            return classify_pictures(args, model)
        from flows.predict.translating import translate_pictures

        model.must_be("translator", "predict --domain")
        return translate_pictures(args, model)
