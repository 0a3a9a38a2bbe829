"""Play a picture of sound, or a recording's translation, to a WAV file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.config.strict import SettingsError, must_exist
from components.core.files import write_atomically
from flows.project import Project

if TYPE_CHECKING:
    from components.registry.predict.model import Model
    from components.sound.playback import Player

MAX_SECONDS = 3600


def play_sound(args: argparse.Namespace, project: Project, model: Model) -> int:
    """Write OUT; return the exit code."""
    from components.registry.predict.sound import read_picture, scale_of, translator, window_of
    from components.sound.files import wav_bytes
    from components.sound.playback import round_trip, translated

    scale = scale_of(project.workspace, args.run, model.served.facts)
    player = player_of(args, scale)
    if args.to is not None:
        model.must_be("translator", "sound --to")
        must_exist(args.to, model.served.facts["domains"], "--to")
    picture, signal = read_picture(args.input, scale)
    if (seconds := picture.shape[1] * scale.hop / scale.rate) > MAX_SECONDS:
        raise SettingsError(f"IN: {args.input}: {seconds:,.0f} s; at most {MAX_SECONDS:,} s are read at once")
    figures = {}
    try:
        if args.to is not None:
            domain = list(model.served.facts["domains"]).index(args.to)
            changed = translated(picture, window_of(model.served.facts)[1], translator(model.served, domain, args.seed))
            picture = np.rint(changed)
            found = player.play(picture)
        elif signal is not None:
            found, figures = round_trip(signal, player)
        else:
            found = player.play(picture)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    write_atomically(args.output, wav_bytes(found, scale.rate))
    if args.picture:
        write_picture(args.picture, picture)
    told = f"; round trip: spectral convergence {figures['spectral_convergence']:.3f}, SNR {figures['snr_db']:.1f} dB"
    print(f"written: {args.output}, {len(found) / scale.rate:.2f} s at {scale.rate} Hz" + (told if figures else ""))
    return 0


def player_of(args: argparse.Namespace, scale: object) -> Player:
    """Return the player of the command's arguments. SettingsError for a vocoder that is none."""
    from components.sound.playback import Player
    from components.sound.vocoder import OnnxVocoder

    if args.vocoder is not None and not args.vocoder.is_file():
        raise SettingsError(f"--vocoder: {str(args.vocoder)!r}: no such file")
    try:
        vocoder = OnnxVocoder(args.vocoder, scale) if args.vocoder else None  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"--vocoder: {error}") from None
    return Player(scale, args.iterations, args.momentum, vocoder)  # type: ignore[arg-type]


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write the picture that was played as PNG, which the command reads again."""
    from components.registry.predict.translate import write_png

    write_png(path, picture.astype(np.uint8)[..., None])
