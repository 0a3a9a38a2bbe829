"""Make the study's recordings, ``voices/<split>/<speaker>/<word>/<number>.wav``: words spoken by three people and a dog.

Run it once, from any folder: ``python experiments/speak-like-a-dog/make_voices.py``. It needs the program espeak-ng
(``apt-get install espeak-ng``; GPL 3). Three people are voices of espeak-ng; the dog is a fourth voice whose sound is made
dog-like: see ``dog``. Nothing is drawn at random: the same version of espeak-ng gives the same files (see ``speak``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import butter, sosfilt

HERE = Path(__file__).parent
WORDS = ("apple", "banana", "coffee", "dinner", "garden", "hello", "morning", "seven", "window", "yellow")
SPEAKERS = {"anna": "en+f3", "bruce": "en+m3", "clara": "en-us+f5"}  # name -> voice of espeak-ng
DOG = "en+m7"  # the voice that is made a dog's
TAKES = [
    (pitch, speed) for pitch in (32, 38, 44, 50, 56) for speed in (140, 155, 170, 185)
]  # espeak-ng's -p, 0 to 99, and words a minute
TEST_PITCH, VALIDATION = 44, (38, 155)  # a pitch between those that are learnt is held out
GROWL_HZ, BARK_HZ = 38.0, 6.0
TRIES = 20


def speak(word: str, voice: str, pitch: int, speed: int, folder: Path) -> tuple[np.ndarray, int]:
    """float64 [n] in [-1, 1], rate.

    One in some hundred recordings of espeak-ng 1.51 differs from the others of the same words: it speaks until it has said the
    same twice. RuntimeError if it does not in ``TRIES``.
    """
    path, before = folder / "word.wav", b""
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(path), word]
    for _ in range(TRIES):
        subprocess.run(command, check=True, capture_output=True)
        if (said := path.read_bytes()) == before:
            break
        before = said
    else:
        raise RuntimeError(f"{TRIES} recordings all differ: {' '.join(command)}")
    rate, samples = wavfile.read(path)
    return samples / 2.0**15, int(rate)


def dog(signal: np.ndarray, rate: int) -> np.ndarray:
    """A dog that speaks: formants of a longer, narrower throat, a growl in the voice, and syllables barked.

    The sound is shifted down by a fourth, its upper formants are raised between 700 and 2,600 Hz, its amplitude swings with the
    growl, and each syllable begins hard and dies away.
    """
    slower = np.interp(np.arange(0, len(signal), 0.75), np.arange(len(signal)), signal)
    time = np.arange(len(slower)) / rate
    throat = slower + 1.5 * sosfilt(butter(2, [700, 2600], "bandpass", fs=rate, output="sos"), slower)
    growl = 0.55 + 0.45 * np.sign(np.sin(2 * np.pi * GROWL_HZ * time)) * np.abs(np.sin(2 * np.pi * GROWL_HZ * time)) ** 0.5
    bark = 0.35 + 0.65 * np.exp(-2.5 * ((time * BARK_HZ) % 1.0))
    made = np.tanh(3 * throat * growl * bark)
    return made / max(1e-9, np.abs(made).max()) * 0.8


def main() -> int:
    if shutil.which("espeak-ng") is None:
        print("error: espeak-ng is not here: `apt-get install espeak-ng`", file=sys.stderr)  # noqa: T201
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        for name, voice in {**SPEAKERS, "dog": DOG}.items():
            for word in WORDS:
                for number, (pitch, speed) in enumerate(TAKES):
                    split = "test" if pitch == TEST_PITCH else "validation" if (pitch, speed) == VALIDATION else "train"
                    folder = HERE / "voices" / split / name / word
                    folder.mkdir(parents=True, exist_ok=True)
                    signal, rate = speak(word, voice, pitch, speed, Path(scratch))
                    signal = dog(signal, rate) if name == "dog" else signal
                    wavfile.write(folder / f"{number:02d}.wav", rate, np.rint(signal * 32767).astype(np.int16))
    print(f"{len(SPEAKERS) + 1} voices, {len(WORDS)} words, {len(TAKES)} takes each: {HERE / 'voices'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
