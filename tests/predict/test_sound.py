"""``flows sound``: recordings of any length through a translator, played; what is refused, in a line."""

import argparse
import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from sound.tones import RATE, tone, write_wav

from components.core.config.strict import SettingsError
from components.registry.predict.model import Model
from components.sound.mel import MelScale, mel_amplitude
from flows.cli.models import sound as command

SCALE = MelScale(RATE, 512, 128, 32, 80, 3800, -80, 20)
SHIFT = 6  # bins


class Translator:
    """Moves the pictures up by ``SHIFT`` bins to be "high", and leaves them to be "low"; styles brighten."""

    def __init__(self, *, styles=False, channels=1):
        self.facts = {"image_size": [32, 16], "channels": channels, "domains": ["low", "high"], "style_width": int(styles)}
        self.seen = []

    def translate(self, image, domain, *, style=None, reference=None, seed=0, first=0):
        assert image.shape[1:] == (32, 16, self.facts["channels"])
        self.seen.append((len(image), seed, first))
        moved = np.concatenate([image[:, SHIFT:], np.zeros_like(image[:, :SHIFT])], 1)
        return np.where(domain[:, None, None, None] == 1, moved, image)


@pytest.fixture
def sounding(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with a recording ``in.wav``; returns (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "in.wav", np.concatenate([tone(300.0, 1.5), tone(240.0, 1.0)]))
    view = tmp_path / "outputs/views/voices/view.json"
    view.parent.mkdir(parents=True)
    view.write_text(json.dumps({"classes": {"sound": [SCALE.name]}}))
    (tmp_path / "signature.json").write_text(json.dumps({"inputs": [{"name": "domain"}], "outputs": [{"name": "image"}]}))
    workspace = SimpleNamespace(folder=tmp_path, params=SimpleNamespace(runs={"mine": SimpleNamespace(view="voices")}))
    monkeypatch.setattr(command, "project_of", lambda args: SimpleNamespace(workspace=workspace))

    def run(*words, served=None):
        model = Model("mine", "version 1", tmp_path, served or Translator(), None)
        monkeypatch.setattr(command, "loaded_model", lambda *_, **__: contextlib.nullcontext(model))
        parser = argparse.ArgumentParser()
        command.sound_arguments(parser)
        code = command.sound(parser.parse_args(["mine", *words, "--iterations", "8"]))
        return code, capsys.readouterr().out

    return run


def loudest_bin(path, columns=slice(None)):
    rate, samples = wavfile.read(path)
    assert (rate, samples.dtype) == (RATE, np.int16)
    return int(mel_amplitude(samples / 32768, SCALE)[columns].mean(0).argmax())


def test_a_long_recording_is_translated_window_by_window(sounding, tmp_path):
    served = Translator(channels=3)
    code, said = sounding("in.wav", "out.wav", "--to", "high", "--picture", "out.png", served=served)
    assert code == 0
    assert "written: out.wav, 2.50 s at 8000 Hz" in said
    assert loudest_bin("out.wav", slice(10, 80)) == loudest_bin("in.wav", slice(10, 80)) + SHIFT
    assert sum(count for count, _, _ in served.seen) == 19  # 157 frames, windows of 16 that overlap by half
    assert np.asarray(Image.open("out.png")).shape == (32, 157)
    sounding("out.png", "again.wav")
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "out.wav").read_bytes()
    sounding("in.wav", "same.wav", "--to", "low")
    assert loudest_bin("same.wav") == loudest_bin("in.wav")


def test_without_a_speaker_the_round_trip_is_measured(sounding):
    _, said = sounding("in.wav", "out.wav")
    assert "round trip: spectral convergence 0." in said
    assert "SNR" in said


def test_all_windows_have_the_style_of_the_seed(sounding):
    served = Translator(styles=True)
    sounding("in.wav", "out.wav", "--to", "high", "--seed", "3", served=served)
    assert set(served.seen) == {(1, 3, 0)}
    assert len(served.seen) == 19


def test_other_rates_and_short_recordings_are_read(sounding, tmp_path):
    write_wav(tmp_path / "cd.wav", tone(300.0, rate=44100), 44100)
    sounding("cd.wav", "out.wav", "--to", "low")
    assert abs(loudest_bin("out.wav") - loudest_bin("in.wav")) <= 1
    write_wav(tmp_path / "short.wav", tone(300.0, 0.01))
    assert sounding("short.wav", "out.wav", "--to", "low")[0] == 0
    write_wav(tmp_path / "silent.wav", np.zeros(RATE))
    sounding("silent.wav", "out.wav", "--to", "low")
    assert np.abs(wavfile.read("out.wav")[1]).max() == 0


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("in.wav", "out.mp3"), "OUT: 'out.mp3' is not allowed: the name of another .wav file than IN"),
        (("in.wav", "in.wav"), "another .wav file than IN"),
        (("none.wav", "out.wav"), "IN: 'none.wav': no such file"),
        (("text.wav", "out.wav"), "IN: text.wav: no readable WAV file, but text"),
        (("text.txt", "out.wav"), r"IN: text.txt: neither sound \(.wav .* nor a picture of it"),
        (("text.png", "out.wav"), "IN: text.png: "),
        (("small.png", "out.wav"), "small.png: a picture of 8 rows; pictures of this run's sound have 32"),
        (("in.wav", "out.wav", "--to", "dog"), "--to: unknown name 'dog'"),
        (("in.wav", "out.wav", "--vocoder", "none.onnx"), "--vocoder: 'none.onnx': no such file"),
        (("in.wav", "out.wav", "--vocoder", "text.txt"), "--vocoder: text.txt: no ONNX graph that can be run"),
        (("in.wav", "out.wav", "--momentum", "1"), "--momentum: 1.0 is not allowed"),
    ],
)
def test_what_is_wrong_is_refused_in_a_line(sounding, tmp_path, words, match):
    for name in ("text.wav", "text.txt", "text.png"):
        (tmp_path / name).write_text("words")
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    with pytest.raises(SettingsError, match=match) as error:
        sounding(*words)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


def test_a_run_that_is_not_made_for_sound_is_refused(sounding, tmp_path):
    served = Translator()
    served.facts["image_size"] = 16
    with pytest.raises(SettingsError, match=r"sees pictures of 16 rows, and sound has 32"):
        sounding("in.wav", "out.wav", served=served)
    (tmp_path / "outputs/views/voices/view.json").write_text(json.dumps({"classes": {"label": ["a"]}}))
    with pytest.raises(SettingsError, match="mine is not made for sound: its view 'voices' has no column `sound`"):
        sounding("in.wav", "out.wav")
    served.facts |= {"image_size": [32, 16], "sound": SCALE.name}  # what an export says itself counts
    assert sounding("in.wav", "out.wav", served=served)[0] == 0


def test_a_vocoder_from_an_onnx_file_makes_the_sound(sounding, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    repeat = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 4, 1])  # 32 bins x 4 = 128 samples a frame
    nodes = [
        helper.make_node("Exp", ["mel"], ["amplitude"]),
        helper.make_node("Tile", ["amplitude", "shape"], ["tiled"]),
        helper.make_node("Transpose", ["tiled"], ["sound"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "vocoder",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, [1, 32, "T"])],
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, None)],
        [repeat],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "vocoder.onnx")
    _, said = sounding("in.wav", "out.wav", "--vocoder", "vocoder.onnx", "--to", "low")
    assert "written: out.wav, 2.51 s at 8000 Hz" in said
    repeat.ClearField("int64_data")
    repeat.int64_data.extend([1, 3, 1])
    model.graph.initializer[0].CopyFrom(helper.make_tensor("shape", TensorProto.INT64, [3], [1, 3, 1]))
    onnx.save(model, tmp_path / "vocoder.onnx")
    with pytest.raises(SettingsError, match="samples of 157 frames; 128 a frame are expected"):
        sounding("in.wav", "out.wav", "--vocoder", "vocoder.onnx", "--to", "low")
