"""``image``: write a container context that serves a run's model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.core.config.strict import SettingsError
from components.versions import LOCK
from flows.cli.arguments import add_place, project_of
from flows.cli.models.predict import add_model
from flows.predict.reading import loaded_model


def image_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="a new folder (default: RUN_image)")
    parser.add_argument(
        "--check", action="store_true", help="install its requirements into a new venv, start it, and let it answer"
    )
    add_place(parser)


def image(args: argparse.Namespace) -> int:
    """Write a container context: Dockerfile, pinned requirements, the model, and its server, which needs no MLflow.

    The server plays the model's golden pictures before it answers. ``--check`` tries all that without Docker; exit code 1:
    the check failed.
    """
    from components.registry.container.check import ContextFault, check_context
    from components.registry.container.context import PORT, golden_pictures, write_context
    from components.registry.predict.translate import empty_folder

    with loaded_model(project_of(args), args.run, args.version, local=args.local) as model:
        folder = empty_folder(args.out or Path(f"{args.run}_image"))
        try:
            requirements = write_context(model, folder, project_of(args).root / LOCK)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    golden = len(golden_pictures(folder))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"written: {folder}/ ({size:.1f} MB, {len(requirements)} packages, {golden} golden pictures)")
    if not golden:
        print(
            "warning: this export has no golden pictures; nothing proves that it answers elsewhere as it does here",
            file=sys.stderr,
        )
    if args.check:
        try:
            check_context(folder, print)
        except ContextFault as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    tag = model.name.lower()
    print(f"next:  docker build --tag {tag} {folder} && docker run --publish {PORT}:{PORT} {tag}")
    print(f"       curl --form image=@picture.jpg http://localhost:{PORT}/predict")
    return 0
