"""A neural vocoder from an ONNX file, instead of Griffin-Lim."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.serving.session import onnxruntime, open_session
from components.sound.mel import MelScale

SMALLEST = 1e-5  # amplitude, as HiFi-GAN (Kong et al. 2020) clips it


class OnnxVocoder:
    """A graph with one input, float32 [1, bins, T], ln of the amplitude of mel bins, lowest first; output: T hop samples.

    This is the interface of HiFi-GAN, MelGAN and others. Its mel bins must be the scale's: same rate, FFT, hop and range.
    """

    def __init__(self, path: Path, scale: MelScale):
        self.path, self.scale = path, scale
        try:
            self.session = open_session(path)
        except Exception as error:  # onnxruntime's errors have no common class but Exception
            raise ValueError(f"{path}: no ONNX graph that can be run ({' '.join(str(error).split())[:200]})") from None
        if len(self.session.get_inputs()) != 1:
            names = ", ".join(entry.name for entry in self.session.get_inputs())
            raise ValueError(f"{path}: a vocoder has one input, the picture; this graph has {names}")

    def __call__(self, mel: np.ndarray) -> np.ndarray:
        """Amplitudes [T, bins] -> float64 [T hop]. ValueError for a graph that makes another number of samples."""
        logarithm = np.log(np.maximum(mel, SMALLEST)).T[None].astype(np.float32)
        try:
            (output, *_) = self.session.run(None, {self.session.get_inputs()[0].name: logarithm})
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            raise ValueError(f"{self.path}: {' '.join(str(error).split())[:200]}") from None
        signal = np.asarray(output, np.float64).reshape(-1)
        if len(signal) != len(mel) * self.scale.hop:
            fault = f"{len(signal)} samples of {len(mel)} frames; {self.scale.hop} a frame are expected"
            raise ValueError(f"{self.path}: {fault}")
        return signal
