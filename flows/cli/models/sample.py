"""``sample``: draw pictures with a run's generator."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.core.config.strict import SettingsError
from flows.cli.arguments import add_place, project_of
from flows.cli.models.predict import add_model
from flows.predict.reading import loaded_model
from flows.predict.translating import beside

MAX_NUMBER = 10_000  # pictures at a time: they are drawn in one request


def sample_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--class", dest="classes", metavar="C", action="append", default=[], help="of this class (again for more)"
    )
    parser.add_argument("--text", dest="texts", metavar="T", action="append", default=[], help="of this text (again for more)")
    parser.add_argument("--number", metavar="N", type=int, default=16, help="number of pictures (16)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="the same seed draws the same pictures (0)")
    help_text = "a parameter of the model, e.g. guidance_scale=2 or steps=50 (diffusion), temperature=0.9 (PixelCNN)"
    parser.add_argument("--param", dest="params", metavar="NAME=VALUE", action="append", default=[], help=help_text)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="a new folder (default: RUN_samples)")
    add_place(parser)


def sample(args: argparse.Namespace) -> int:
    """Draw pictures with a diffusion model or a PixelCNN; write them as PNG files, with a page of them.

    Classes and texts are taken in turn; without --class all classes are.
    """
    if not 1 <= args.number <= MAX_NUMBER:
        raise SettingsError(f"--number: {args.number} is not allowed: 1 to {MAX_NUMBER}")
    if args.seed < 0:
        raise SettingsError(f"--seed: {args.seed} is not allowed: at least 0")
    with loaded_model(project_of(args), args.run, args.version, local=args.local) as model:
        from components.registry.predict.sample import parse_params, sample
        from components.registry.predict.sheet import EACH, Tile, draw_page
        from components.registry.predict.translate import empty_folder, write_png

        model.must_be("generator", "sample")
        params = parse_params(args.params) | {"seed": args.seed}
        folder = empty_folder(args.out or Path(f"{args.run}_samples"))
        images, captions = sample(model, args.number, classes=args.classes, texts=args.texts, params=params)
        for index, image in enumerate(images):
            write_png(folder / f"{index:05d}.png", image)
        tiles = [Tile(image, (caption,) if caption else ()) for image, caption in zip(images, captions, strict=True)]
        draw_page(beside(folder), f"{model.name}, {model.origin}, seed {args.seed}", [("", tiles[: 2 * EACH])])
        print(f"written: {len(images)} pictures in {folder}/, {beside(folder)}")
    return 0
