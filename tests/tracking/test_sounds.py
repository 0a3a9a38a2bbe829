"""The sound files that are logged beside an evaluation: which, and of what."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import wavfile
from sound.tones import RATE, tone

from components.registry.record import sounds
from components.sound.mel import MelScale
from components.sound.playback import picture_of

SCALE = MelScale(RATE, 256, 64, 16, 100, 3800, -80, 20)
FRAMES = 24

SERVED = """
import json
from pathlib import Path
import numpy as np

class Served:
    def __init__(self, folder):
        self.facts = json.loads((Path(folder) / "facts.json").read_text())

    def translate(self, image, domain, *, style=None, reference=None, seed=0, first=0):
        return np.zeros_like(image) if domain[0] else image
"""


@pytest.fixture
def outs(tmp_path):
    view, export = tmp_path / "outputs/views/voices", tmp_path / "outputs/export/mine"
    view.mkdir(parents=True)
    export.mkdir(parents=True)
    one = picture_of(tone(300.0, 0.2), SCALE)[:, :FRAMES]
    np.save(view / "test.image.npy", np.stack([one] * 5)[..., None])
    np.save(view / "test.domain.npy", np.array([0, 0, 0, 1, 1]))
    (view / "view.json").write_text(json.dumps({"classes": {"sound": [SCALE.name]}}))
    facts = {"image_size": [16, FRAMES], "channels": 1, "domains": ["anna/b", "rex"], "style_width": 0}
    (export / "facts.json").write_text(json.dumps(facts))
    (export / "served.py").write_text(SERVED)
    workspace = SimpleNamespace(folder=tmp_path, params=SimpleNamespace(runs={"mine": SimpleNamespace(view="voices")}))
    return SimpleNamespace(workspace=workspace, run="mine", view=view, export=export)


def test_windows_of_every_voice_and_their_translations_are_logged(outs):
    logged = {}

    def log_artifacts(run_id, folder, place):
        assert (run_id, place) == ("7", "sounds")
        logged.update({path.name: path.read_bytes() for path in sorted(sounds.Path(folder).iterdir())})

    server = SimpleNamespace(client=SimpleNamespace(log_artifacts=log_artifacts))
    assert sounds.log_sounds(server, "7", outs) == 8
    assert list(logged)[:4] == ["anna_b-0-to-rex.wav", "anna_b-0.wav", "anna_b-1-to-rex.wav", "anna_b-1.wav"]
    rate, samples = wavfile.read(io.BytesIO(logged["anna_b-0.wav"]))
    assert (rate, len(samples)) == (RATE, (FRAMES - 1) * 64)
    assert np.abs(samples).max() > 1000
    assert np.abs(wavfile.read(io.BytesIO(logged["anna_b-0-to-rex.wav"]))[1]).max() == 0


@pytest.mark.parametrize("missing", ["column", "height", "translator"])
def test_other_models_have_no_sounds(outs, tmp_path, missing):
    if missing == "column":
        (outs.view / "view.json").write_text(json.dumps({"classes": {"label": ["a"]}}))
    if missing == "height":
        facts = json.loads((outs.export / "facts.json").read_text()) | {"image_size": 32}
        (outs.export / "facts.json").write_text(json.dumps(facts))
    if missing == "translator":
        (outs.export / "served.py").write_text(SERVED.replace("def translate", "def classify"))
    assert sounds.write_sounds(outs, tmp_path) == 0
