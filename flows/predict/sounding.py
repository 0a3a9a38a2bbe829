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
    from components.sound.mel import MelScale
    from components.sound.playback import Player

MAX_SECONDS = 3600


def play_sound(args: argparse.Namespace, project: Project, model: Model) -> int:
    """Write OUT; return the exit code."""
    from components.registry.predict.sound import read_picture, scale_of
    from components.sound.files import wav_bytes
    from components.sound.playback import round_trip

    scale = scale_of(project.workspace, args.run, model.served.facts)
    player = player_of(args, scale)
    if args.to is not None:
        model.must_be("translator", "sound --to")
        must_exist(args.to, model.served.facts["domains"], "--to")
    picture, signal = read_picture(args.input, scale)
    if (seconds := picture.shape[1] * scale.hop / scale.rate) > MAX_SECONDS:
        raise SettingsError(f"IN: {args.input}: {seconds:,.0f} s; at most {MAX_SECONDS:,} s are read at once")
    kept = ""
    try:
        if args.to is not None:
            picture = into_voice(picture, model, args.to, args.seed)
        if args.to is None and signal is not None:
            found, figures = round_trip(signal, player)
            kept = f"; round trip: spectral convergence {figures['spectral_convergence']:.3f}, SNR {figures['snr_db']:.1f} dB"
        else:
            found = player.play(picture)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    write_atomically(args.output, wav_bytes(found, scale.rate))
    if args.picture:
        write_picture(args.picture, picture)
    print(f"written: {args.output}, {len(found) / scale.rate:.2f} s at {scale.rate} Hz{kept}")
    return 0


def into_voice(picture: np.ndarray, model: Model, name: str, seed: int) -> np.ndarray:
    """Translate uint8 [bins, T] into the domain ``name``."""
    from components.registry.predict.sound import translator, window_of
    from components.sound.playback import translated

    facts = model.served.facts
    change = translator(model.served, list(facts["domains"]).index(name), seed)
    return np.rint(translated(picture, window_of(facts)[1], change)).astype(np.uint8)


def player_of(args: argparse.Namespace, scale: MelScale) -> Player:
    """Return the player of the command's arguments. SettingsError for a vocoder that is none."""
    from components.registry.predict.vocoder import OnnxVocoder
    from components.sound.playback import Player

    if args.vocoder is not None and not args.vocoder.is_file():
        raise SettingsError(f"--vocoder: {str(args.vocoder)!r}: no such file")
    try:
        vocoder = OnnxVocoder(args.vocoder, scale) if args.vocoder else None
    except ValueError as error:
        raise SettingsError(f"--vocoder: {error}") from None
    return Player(scale, args.iterations, args.momentum, vocoder)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write the picture that was played as PNG, which the command reads again."""
    from components.registry.predict.translate import write_png

    write_png(path, picture[..., None])
