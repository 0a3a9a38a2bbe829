"""Fit detectors on the same samples, and save and load their state."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from components.core.files import read_json, write_json
from components.detectors import DETECTORS
from components.detectors.shared.protocol import Detector, Head, Sample
from components.stages.detect.settings import make_detector

Options = dict[str, dict[str, Any]]  # detector -> options of its constructor


def fit_all(detectors: dict[str, Any], samples: Iterable[Sample], head: Head) -> tuple[dict[str, Any], dict[str, str]]:
    """Fit the detectors; return (the fitted ones, name -> reason for the others). The samples are finite."""
    unfitted = {}
    for name, detector in detectors.items():
        try:
            detector.fit(samples, head)
        except ValueError as error:
            unfitted[name] = str(error)
    return {name: detector for name, detector in detectors.items() if name not in unfitted}, unfitted


def save_state(path: Path, detector: Detector) -> None:
    """Write the fitted tensors, float64, as a safetensors file."""
    from safetensors.torch import save

    path.write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in detector.state().items()}))


def load_state(path: Path) -> dict[str, Tensor]:
    """Load the tensors of ``save_state``; {} if there is no file: the detector has no fitted state."""
    from safetensors.torch import load_file

    return load_file(path) if path.is_file() else {}


def save_fitted(folder: Path, detectors: dict[str, Any], options: Options, unfitted: dict[str, str], batch_size: int) -> None:
    """Write ``detectors.json`` and ``<detector>.safetensors``, all that scoring another view needs besides the network."""
    for name, detector in detectors.items():
        if detector.state():
            save_state(folder / f"{name}.safetensors", detector)
    chosen = {name: {"options": options.get(name, {})} for name in detectors}
    write_json(folder / "detectors.json", {"detectors": chosen, "unfitted": unfitted, "batch_size": batch_size})


def load_fitted(folder: Path) -> tuple[dict[str, Any], int]:
    """Load (name -> fitted detector, batch size) from the files of ``save_fitted``."""
    stored = read_json(folder / "detectors.json")
    detectors = {}
    for name in (name for name in DETECTORS if name in stored["detectors"]):  # JSON has its own order
        detectors[name] = make_detector(name, stored["detectors"][name]["options"], f"detectors.json: {name}")
        detectors[name].load(load_state(folder / f"{name}.safetensors"))
    return detectors, stored["batch_size"]
