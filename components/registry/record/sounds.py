"""Sound files of a translator of voices, which MLflow plays: test windows as they are, and in every other voice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.config.strict import SettingsError
from components.registry.predict.sound import classes_of, scale_of, translator
from components.registry.record.outs import RunOutputs
from components.serving.loading import load_served
from components.sound.files import wav_bytes
from components.sound.playback import Player

if TYPE_CHECKING:
    from components.registry.tracking import Server

FOLDER = "sounds"  # of the evaluation's artifacts
INPUTS = 2  # windows of each voice
SPLITS = ("test", "validation", "train")


def log_sounds(server: Server, run_id: str, outs: RunOutputs) -> int:
    """Log the sounds of ``outs`` to the run; return their number: 0 for a model that translates no sound."""
    with tempfile.TemporaryDirectory(prefix="darkroom-sounds-") as folder:
        count = write_sounds(outs, Path(folder))
        if count:
            server.client.log_artifacts(run_id, folder, FOLDER)
        return count


def write_sounds(outs: RunOutputs, folder: Path) -> int:
    """Write ``<voice>-<window>.wav`` and ``<voice>-<window>-to-<other>.wav``; return the number of files."""
    if not classes_of(outs.view / "view.json") or not (outs.export / "facts.json").is_file():
        return 0
    served = load_served(outs.export)
    if not hasattr(served, "translate") or "domains" not in served.facts:
        return 0
    try:
        player = Player(scale_of(outs.workspace, outs.run, served.facts))
    except SettingsError:  # a view of another height than the pictures of sound: they cannot be played
        return 0
    images, domain = _test_windows(outs.view)
    count = 0
    for index, name in enumerate(served.facts["domains"]):
        for number, image in enumerate(images[domain == index][:INPUTS]):
            for target, pixels in _versions(served, image, index):
                suffix = f"-to-{_file_name(target)}" if target else ""
                sound = wav_bytes(player.play(pixels), player.scale.rate)
                (folder / f"{_file_name(name)}-{number}{suffix}.wav").write_bytes(sound)
                count += 1
    return count


def _test_windows(view: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, C] and domains int64 [N] of the test split, or else of another."""
    split = next(name for name in SPLITS if (view / f"{name}.image.npy").is_file())
    arrays = (np.load(view / f"{split}.{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("image", "domain"))
    images, domain = arrays
    return images, np.asarray(domain)


def _versions(served: Any, image: np.ndarray, own: int) -> list[tuple[str, np.ndarray]]:
    """("", the window's grey picture), then (voice, its translation) for every other voice; uint8 [bins, T]."""
    window = np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8)[None]
    others = [(index, name) for index, name in enumerate(served.facts["domains"]) if index != own]
    return [("", window[0, ..., 0]), *((name, translator(served, index, 0)(window)[0, ..., 0]) for index, name in others)]


def _file_name(name: str) -> str:
    """A name without separators of paths."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
