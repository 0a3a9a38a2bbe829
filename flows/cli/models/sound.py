"""``sound``: translate recordings into another voice, or play pictures of sound."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.core.config.strict import SettingsError
from flows.cli.arguments import add_place, project_of
from flows.cli.models.predict import add_model
from flows.predict.reading import loaded_model

MAX_ITERATIONS = 10_000


def sound_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("input", metavar="IN", type=Path, help="a sound file of any length and rate, or a picture of sound")
    parser.add_argument("output", metavar="OUT", type=Path, help="a WAV file: one channel, 16 bits, the run's rate")
    parser.add_argument("--to", metavar="SPEAKER", help="a domain of the translator RUN; without it IN's own picture is played")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the style, if the translator has styles (0)")
    parser.add_argument("--iterations", metavar="N", type=int, default=60, help="of Griffin-Lim (60)")
    parser.add_argument("--momentum", metavar="M", type=float, default=0.99, help="of Griffin-Lim; 0: the original (0.99)")
    parser.add_argument("--vocoder", metavar="FILE", type=Path, help="an ONNX file that makes sound of log-mel frames instead")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="also write the picture that was played (PNG)")
    add_place(parser)


def sound(args: argparse.Namespace) -> int:
    """Translate a recording into the voice SPEAKER by a run on views of the source `audio`, and write it as a WAV file.

    A long recording passes the model window by window, which overlap by half. Without --to its own picture is played, and how
    much of the recording that keeps is printed.
    """
    if not 1 <= args.iterations <= MAX_ITERATIONS:
        raise SettingsError(f"--iterations: {args.iterations} is not allowed: 1 to {MAX_ITERATIONS}")
    if not 0 <= args.momentum < 1:
        raise SettingsError(f"--momentum: {args.momentum} is not allowed: from 0 to below 1")
    if args.seed < 0:
        raise SettingsError(f"--seed: {args.seed} is not allowed: at least 0")
    for name, path, suffix in (("OUT", args.output, ".wav"), ("--picture", args.picture, ".png")):
        if path is not None and (path.suffix.lower() != suffix or path.is_dir() or path.resolve() == args.input.resolve()):
            raise SettingsError(f"{name}: {str(path)!r} is not allowed: the name of another {suffix} file than IN")
    project = project_of(args)
    with loaded_model(project, args.run, args.version, local=args.local) as model:
        from flows.predict.sounding import play_sound

        return play_sound(args, project, model)
