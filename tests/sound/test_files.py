"""Samples of WAV files by their bytes, and resampling."""

import numpy as np
import pytest
from scipy.io import wavfile

from components.sound.files import read_sound, resampled


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-(2**15), 0, 2**14], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], np.float32), [-1, 0, 0.5]),
        (np.array([[2**14, 0], [0, -(2**14)]], np.int16), [0.25, -0.25]),
    ],
)
def test_full_scale_is_1_and_silence_0_and_channels_are_averaged(tmp_path, samples, expected):
    wavfile.write(tmp_path / "a.wav", 8000, samples)
    found, rate = read_sound(tmp_path / "a.wav")
    assert (found.tolist(), rate) == (expected, 8000)


def test_resampling_keeps_a_tone_and_its_length():
    time = np.arange(4410) / 44100
    found = resampled(np.sin(2 * np.pi * 440 * time), 44100, 16000)
    assert len(found) == 1600
    expected = np.sin(2 * np.pi * 440 * np.arange(1600) / 16000)
    assert np.abs(found - expected)[100:-100].max() < 1e-2
