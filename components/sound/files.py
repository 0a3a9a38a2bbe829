"""Sound files: WAV by scipy alone; FLAC, Ogg, MP3 and others by soundfile, an optional package."""

from __future__ import annotations

import io
import warnings
import wave
from math import gcd
from pathlib import Path

import numpy as np

SUFFIXES = {  # suffix -> libsndfile's name of the format
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
}
WAV = ".wav"
PACKAGE = "soundfile"
FULL_SCALE = {"uint8": (128.0, 128.0), "int16": (0.0, 2.0**15), "int32": (0.0, 2.0**31), "int64": (0.0, 2.0**63)}  # zero, one


def unsupported(suffix: str) -> str | None:
    """Say why files with this suffix of ``SUFFIXES`` cannot be read here; None if they can."""
    if suffix.lower() == WAV:
        return None
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without its library
        return f"{suffix} files are read by the package {PACKAGE}: `pip install {PACKAGE}`, or convert them to WAV"
    if SUFFIXES[suffix.lower()] in soundfile.available_formats():
        return None
    return f"this {PACKAGE} ({soundfile.__libsndfile_version__}) does not read {suffix}; a newer one does, or convert it to WAV"


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """Read a file -> (one channel, the mean of all, float64 [n] in [-1, 1], rate in Hz). ValueError says what is wrong."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name}: no sound file by its suffix; known are {' '.join(SUFFIXES)}")
    if reason := unsupported(suffix):
        raise ValueError(reason)
    if path.stat().st_size == 0:
        raise ValueError("an empty file")
    samples, rate = _read_wav(path) if suffix == WAV else _read_other(path)
    if len(samples) == 0:
        raise ValueError("a sound of no length")
    if not np.isfinite(samples).all():
        raise ValueError("numbers that are not finite (NaN or infinity) among the samples")
    return samples.mean(axis=1) if samples.ndim == 2 else samples, rate


def _read_wav(path: Path) -> tuple[np.ndarray, int]:
    """8, 16, 24 and 32 bits, and floats of 32 and 64 bits -> float64 [n] or [n, channels], rate."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of chunks that hold no samples
            rate, samples = wavfile.read(path)
    except (ValueError, EOFError, IndexError, UnboundLocalError, OverflowError, ZeroDivisionError, MemoryError) as error:
        kind = _content(path)
        raise ValueError(f"no readable WAV file{f', but {kind}' if kind else f' ({_line(error)})'}") from None
    except Exception as error:  # struct.error and whatever else scipy lets through for a broken header
        raise ValueError(f"no readable WAV file ({_line(error)})") from None
    if rate <= 0:
        raise ValueError(f"a WAV file of {rate} Hz")
    if samples.dtype.kind == "f":
        return samples.astype(np.float64), int(rate)
    zero, one = FULL_SCALE[samples.dtype.name]
    return (samples.astype(np.float64) - zero) / one, int(rate)


def _read_other(path: Path) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float64")
    except (RuntimeError, ValueError, TypeError) as error:  # soundfile.LibsndfileError is a RuntimeError
        kind = _content(path)
        raise ValueError(f"no readable {path.suffix} file{f', but {kind}' if kind else f' ({_line(error)})'}") from None
    return samples, int(rate)


def _content(path: Path) -> str:
    """Name a content that is often found behind a sound's suffix; "" for any other."""
    with path.open("rb") as file:
        head = file.read(256)
    if head.startswith(b"version https://git-lfs"):
        return "a Git-LFS pointer: `git lfs pull` brings the file"
    known = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"RIFF": ""}
    for start, name in known.items():
        if head.startswith(start):
            return f"{name}: give it that suffix" if name else ""
    printable = head.decode("utf-8", errors="replace").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    return "text" if printable and "\ufffd" not in head.decode("utf-8", errors="replace") else ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def resampled(signal: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Resample float64 [n] by a polyphase filter, without delay; of a whole ratio of the two rates, in Hz."""
    from scipy.signal import resample_poly

    common = gcd(rate, target)
    return signal if rate == target else np.asarray(resample_poly(signal, target // common, rate // common))


def wav_bytes(signal: np.ndarray, rate: int) -> bytes:
    """Encode float64 [n] as a WAV file of one channel and 16 bits; a sound beyond full scale is made quieter as a whole."""
    peak = float(np.abs(signal).max(initial=0.0))
    pcm = np.rint(signal / max(peak, 1.0) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
    return buffer.getvalue()
