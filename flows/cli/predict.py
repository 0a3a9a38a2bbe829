"""``predict``: classify or translate pictures with a run's champion, or another version of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.strict import SettingsError
from flows.cli.arguments import add_place, project_of
from flows.pipeline.preflight import check_versions
from flows.pipeline.report import table

if TYPE_CHECKING:
    from components.registry.predict.model import Model
    from components.registry.predict.pictures import Picture

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
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the styles of --domain (0)")
    parser.add_argument("--no-sheet", dest="sheet", action="store_false", help="draw no page of the surest and the least sure")
    add_place(parser)


def predict(args: argparse.Namespace) -> int:
    """Classify pictures, of any size and number, or translate them into a domain.

    Writes predictions.csv (file, label, probability, top5, ood_score, is_ood) and predictions.png, the 25 surest and the 25
    least sure. Broken pictures are named and passed over. Exit code 1: all pictures are broken.
    """
    if not 1 <= args.batch <= MAX_BATCH:
        raise SettingsError(f"--batch: {args.batch} is not allowed: 1 to {MAX_BATCH}")
    if args.seed < 0:
        raise SettingsError(f"--seed: {args.seed} is not allowed: at least 0")
    with loaded_model(args) as model:
        if args.domain is None:
            model.must_be("classifier", "predict")
            return _classify(args, model)
        model.must_be("translator", "predict --domain")
        return _translate(args, model)


@contextmanager
def loaded_model(args: argparse.Namespace) -> Iterator[Model]:
    """Load the model that ``add_model``'s arguments select; what MLflow downloads is removed at the end."""
    from components.registry.predict.model import find_model
    from components.registry.tracking import TrackingUnavailable

    project, before = project_of(args), tempfile.tempdir
    check_versions(project.root)
    with tempfile.TemporaryDirectory(prefix="darkroom-predict-") as scratch:
        tempfile.tempdir = scratch
        try:
            model = find_model(project.workspace, args.run, args.version, local=args.local)
            tempfile.tempdir = before
            print(f"{model.name}: {model.origin}", flush=True)
            yield model
        except TrackingUnavailable as error:
            raise SettingsError(f"{error}; --local needs no server") from None
        finally:
            tempfile.tempdir = before


class Reading:
    """The pictures of a command: how many were ``found`` and are ``broken``; broken ones are named on standard error."""

    def __init__(self, places: list[str]) -> None:
        from components.registry.predict.pictures import find_pictures

        self.found = self.broken = 0
        self._pictures = find_pictures(places)

    def __iter__(self) -> Iterator[Picture]:
        from tqdm import tqdm

        for picture in tqdm(self._pictures, unit=" pictures", disable=not sys.stderr.isatty(), leave=False):
            self.found += 1
            yield picture

    def report(self, picture: Picture, fault: str) -> None:
        from components.registry.predict.pictures import printable

        self.broken += 1
        print(f"broken: {printable(picture.name)}: {printable(fault)}", file=sys.stderr)

    def conclude(self) -> int:
        """Print the counts and return the exit code. SettingsError if there was no picture."""
        if not self.found:
            raise SettingsError("WHAT: no picture is there")
        print(f"{self.found - self.broken:,} of {self.found:,} pictures predicted, {self.broken:,} broken")
        return 1 if self.broken == self.found else 0


def _classify(args: argparse.Namespace, model: Model) -> int:
    from components.registry.predict.classify import classify
    from components.registry.predict.decoding import batches
    from components.registry.predict.sheet import Extremes, draw_page
    from components.registry.predict.tables import tables

    out: Path = args.out or Path("predictions.csv")
    if out.is_dir() or out.suffix.lower() not in (".csv", ".txt"):
        raise SettingsError(f"--out: {str(out)!r} is not allowed: the name of a .csv file")
    files = {"csv": out} | ({"jsonl": out.with_suffix(".jsonl")} if args.jsonl else {})
    reading, extremes, counts, strange = Reading(args.what), Extremes(), Counter[str](), Counter[str]()
    with tables(out, files.get("jsonl")) as write:
        for predictions, pixels in classify(model.served, batches(reading, model.decode, args.batch, reading.report)):
            write(predictions)
            counts.update(prediction.label for prediction in predictions)
            strange.update(prediction.label for prediction in predictions if prediction.is_ood)
            if args.sheet:
                extremes.add(predictions, pixels)
        code = reading.conclude()  # an error here leaves an earlier file
    if args.sheet and counts:
        files["sheet"] = out.with_suffix(".png")
        draw_page(files["sheet"], f"{model.name}, {model.origin}: {counts.total():,} pictures", extremes.blocks())
    print(counts_table(model.served.facts["classes"], counts, strange if "detector" in model.served.facts else None))
    print(f"written: {', '.join(map(str, files.values()))}")
    return code


def counts_table(classes: Iterable[str], counts: Counter[str], strange: Counter[str] | None) -> str:
    """Format the number of pictures per class, and how many of them are out of distribution."""
    total = max(1, counts.total())
    rows = [
        {"label": name, "pictures": f"{counts[name]:,}", "share": f"{counts[name] / total:.1%}"}
        | ({} if strange is None else {"out of distribution": f"{strange[name]:,}"})
        for name in classes
    ]
    return table(rows)


def _translate(args: argparse.Namespace, model: Model) -> int:
    from components.registry.predict.decoding import batches
    from components.registry.predict.sheet import COLUMNS, EACH, Tile, draw_page
    from components.registry.predict.translate import domain_index, empty_folder, translate

    domain = domain_index(model.served, args.domain)
    folder = empty_folder(args.out or Path(f"{args.run}_{args.domain}"))
    reading, tiles = Reading(args.what), list[Tile]()
    decoded = batches(reading, model.decode, args.batch, reading.report)
    for pictures, sources, images in translate(model.served, decoded, domain, args.seed, folder):
        pairs = zip(pictures, sources, images, strict=True)
        rows: list[Any] = [Tile(pixels, (Path(p.name).name,)) for p, source, image in pairs for pixels in (source, image)]
        tiles += rows[: 2 * EACH - len(tiles)]
    code = reading.conclude()
    if args.sheet and tiles:
        ordered = _pairs_below_each_other(tiles, COLUMNS)
        title = f"{model.name}, {model.origin}: into {args.domain}"
        draw_page(beside(folder), title, [("pictures, and their translations below them", ordered)])
    print(f"written: {folder}/" + (f", {beside(folder)}" if args.sheet and tiles else ""))
    return code


def beside(folder: Path) -> Path:
    """Return the page of a folder of pictures: a PNG file beside it, so that it never takes a picture's name."""
    return folder.with_name(f"{folder.name}.png")


def _pairs_below_each_other(tiles: list[Any], columns: int) -> list[Any]:
    """Order source, translation, source, ... so that, in rows of ``columns`` tiles, each translation is below its source."""
    ordered = []
    for start in range(0, len(tiles), 2 * columns):
        part = tiles[start : start + 2 * columns]
        ordered += part[::2] + part[1::2]
    return ordered
