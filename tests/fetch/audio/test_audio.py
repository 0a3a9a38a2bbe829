"""Recordings as pictures: what is read, how it is cut, what is refused in one line."""

import json
import wave

import numpy as np
import pytest
from scipy.io import wavfile
from sound.tones import RATE, tone, write_wav

from components.core.config.strict import SettingsError, parse
from components.sound import files
from components.sound.mel import MelScale
from components.stages.fetch.audio.source import Audio

SMALL = {"sampling_rate": RATE, "fft": 256, "hop": 64, "bins": 16, "frames": 32, "low": 100.0, "high": 3800.0}


@pytest.fixture
def voices(tmp_path):
    for speaker, hz in (("anna", 220.0), ("rex", 110.0)):
        for word, factor in (("a", 1.0), ("o", 1.5)):
            write_wav(tmp_path / "voices" / speaker / word / "1.wav", tone(hz * factor))
    return tmp_path / "voices"


def fetch(folder, name="out", **changes):
    out = folder.parent / name
    out.mkdir()
    settings = parse(Audio.Settings, {"source": "audio", "path": folder.name} | SMALL | changes, "datasets.x")
    Audio.fetch(settings, out, 0, folder.parent)
    return json.loads((out / "dataset.json").read_text()), np.load(out / "all.image.npy")


def refused(folder, match, **changes):
    with pytest.raises(ValueError, match=match) as error:
        fetch(folder, **changes)
    return str(error.value)


def column(folder, name):
    return np.load(folder.parent / "out" / f"all.{name}.npy").tolist()


def test_speakers_words_recordings_and_the_scale_become_columns(voices):
    index, images = fetch(voices)
    assert index["classes"]["domain"] == ["anna", "rex"]
    assert index["classes"]["label"] == ["a", "o"]
    assert index["classes"]["group"] == ["anna/a/1.wav", "anna/o/1.wav", "rex/a/1.wav", "rex/o/1.wav"]
    scale = MelScale.parse(*index["classes"]["sound"])
    assert scale == MelScale(RATE, 256, 64, 16, 100, 3800, -80, 20)
    assert (images.dtype, images.shape) == (np.uint8, (8, 16, 32))  # 63 frames each: a whole window, and one nearly full
    assert column(voices, "domain") == [0] * 4 + [1] * 4
    assert column(voices, "label") == [0, 0, 1, 1] * 2
    assert column(voices, "group") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert images[0].mean(1).argmax() == 15, "the lowest frequency stands at the bottom"


def test_the_same_recordings_give_the_same_bytes_and_a_speaker_may_be_the_class(voices):
    fetch(voices, "one", column="label")
    index, _ = fetch(voices, "two", column="label")
    assert set(index["classes"]) == {"label", "word", "group", "sound"}
    for path in (voices.parent / "one").iterdir():
        assert path.read_bytes() == (voices.parent / "two" / path.name).read_bytes()


@pytest.mark.parametrize("kind", ["8", "16", "24", "32", "float32", "float64", "stereo", "44100"])
def test_every_kind_of_wav_gives_nearly_the_picture_of_16_bits(tmp_path, kind):
    signal, rate = tone(300.0), RATE
    write_wav(tmp_path / "voices/a/1.wav", signal)
    other = tmp_path / "voices/b/1.wav"
    other.parent.mkdir()
    if kind == "24":
        with wave.open(str(other), "wb") as file:
            file.setparams((1, 3, RATE, 0, "NONE", ""))
            file.writeframes(b"".join(int(v * (2**23 - 1)).to_bytes(3, "little", signed=True) for v in signal))
    else:
        if kind == "44100":
            signal, rate = tone(300.0, rate=44100), 44100
        data = {
            "8": np.rint(signal * 127 + 128).astype(np.uint8),
            "32": (signal * (2**31 - 1)).astype(np.int32),
            "float32": signal.astype(np.float32),
            "stereo": np.stack([signal * 1.9, signal * 0.1], 1),
        }.get(kind, signal)
        wavfile.write(other, rate, data if kind in ("8", "32", "float32", "float64") else (data * 32767).astype(np.int16))
    _, images = fetch(tmp_path / "voices")
    ours, reference = images[len(images) // 2 :].astype(int), images[: len(images) // 2].astype(int)
    assert ours.shape == reference.shape
    loud = reference > 100
    assert loud.sum() > 100
    assert np.abs(ours - reference)[loud].max() <= (12 if kind in ("8", "44100", "stereo") else 2)


def test_silence_around_a_sound_is_cut_off_and_a_short_one_is_filled(tmp_path):
    quiet = np.zeros(RATE)
    write_wav(tmp_path / "voices/a/1.wav", np.concatenate([quiet, tone(300.0, 0.2), quiet]))
    _, images = fetch(tmp_path / "voices")
    assert len(images) == 1
    columns = np.flatnonzero(images[0].max(0))
    assert columns[0] == 0
    assert 20 <= columns[-1] + 1 <= 30, "0.2 s are 25 columns; the rest is 0"
    _, images = fetch(tmp_path / "voices", "untrimmed", trim=None)
    assert len(images) == 9


def test_windows_may_overlap_and_the_level_is_set(voices):
    _, images = fetch(voices)
    _, double = fetch(voices, "overlapping", frames_hop=16)
    assert len(double) > len(images)
    loud = write_wav(voices / "anna/a/2.wav", tone(220.0, amplitude=0.05))
    _, levelled = fetch(voices, "level", level=-20.0)
    groups = np.load(voices.parent / "level" / "all.group.npy")
    assert loud.exists()
    first, second = (levelled[groups == group].astype(int) for group in (0, 1))
    assert np.abs(first - second)[first > 128].max() <= 3


def test_published_splits_are_kept(voices):
    root = voices.parent / "split"
    for split in ("train", "val"):
        write_wav(root / split / "anna" / "1.wav", tone(200.0))
    out = voices.parent / "published"
    out.mkdir()
    Audio.fetch(parse(Audio.Settings, {"source": "audio", "path": "split"} | SMALL, "datasets.x"), out, 0, voices.parent)
    index = json.loads((out / "dataset.json").read_text())
    assert list(index["splits"]) == ["train", "validation"]
    assert index["classes"]["group"] == ["train/anna/1.wav", "val/anna/1.wav"]
    assert "label" not in index["classes"]


def test_bad_files_are_named_in_a_line_each(voices):
    (voices / "anna/a/2.wav").write_bytes(b"")
    (voices / "anna/a/3.wav").write_text("these are words\nin two lines")
    write_wav(voices / "anna/a/4.wav", np.zeros(RATE))
    write_wav(voices / "anna/a/5.wav", np.zeros(0))
    write_wav(voices / "anna/a/6.wav", np.full(RATE, np.nan, np.float32))
    whole = (voices / "rex/a/1.wav").read_bytes()
    (voices / "rex/a/2.wav").write_bytes(whole[:30])
    message = refused(voices, "6 faults")
    for line in (
        "anna/a/2.wav: an empty file",
        "anna/a/3.wav: no readable WAV file, but text",
        "anna/a/4.wav: nothing but silence; silent: skip leaves such recordings out",
        "anna/a/5.wav: a sound of no length",
        "anna/a/6.wav: numbers that are not finite (NaN or infinity) among the samples",
        "rex/a/2.wav: no readable WAV file",
    ):
        assert line in message
    assert len(message.splitlines()) == 7


def test_silence_may_be_left_out_and_rates_refused(voices, caplog):
    write_wav(voices / "anna/a/2.wav", np.zeros(RATE))
    _, images = fetch(voices, silent="skip")
    assert len(images) == 8
    assert "1 silent recordings left out" in caplog.text
    write_wav(voices / "anna/a/2.wav", tone(220.0, rate=4000), 4000)
    assert "a recording of 4000 Hz" in refused(voices, "2.wav", name="rates", other_rates="error")
    fetch(voices, "resampled")
    assert "1 of 5 recordings resampled from 4000 Hz; nothing above 2000 Hz is in them" in caplog.text


def test_a_layout_that_is_none_is_refused(voices, tmp_path):
    write_wav(voices / "anna/1.wav", tone(220.0))
    refused(voices, "anna/a/1.wav lies in a word's folder and anna/1.wav in none")
    (voices / "anna/1.wav").rename(voices / "1.wav")
    refused(voices, "1.wav: a sound file beside the speakers' folders", name="beside")
    (voices / "1.wav").unlink()
    (voices / "anna/a/notes.txt").write_text("x")
    refused(voices, "notes.txt: no sound file", name="text")
    assert len(fetch(voices, "skipping", other_files="skip")[1]) == 8
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no recordings; <path>/<speaker>/<file>", name="nothing")
    with pytest.raises(SettingsError, match="low 5000 and high 3800 Hz: ascending"):
        parse(Audio.Settings, {"source": "audio", "path": "x"} | SMALL | {"low": 5000.0}, "datasets.x")


def test_other_formats_need_a_package_and_are_named_without_it(voices, monkeypatch):
    (voices / "anna/a/2.mp3").write_bytes(b"ID3")
    monkeypatch.setitem(__import__("sys").modules, files.PACKAGE, None)
    refused(voices, r"2\.mp3: \.mp3 files are read by the package soundfile: `pip install soundfile`, or convert them to WAV")


def test_flac_ogg_and_mp3_are_read_where_soundfile_is(voices):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed: WAV is read without it")
    folder = voices.parent / "compressed"
    suffixes = [suffix for suffix in (".flac", ".ogg", ".mp3") if files.unsupported(suffix) is None]
    assert ".flac" in suffixes
    signal = tone(300.0, 1.0)
    write_wav(folder / "a" / "1.wav", signal)
    for suffix in suffixes:
        soundfile.write(folder / "a" / f"1{suffix}", signal, RATE)
    index, images = fetch(folder)
    groups = np.load(voices.parent / "out" / "all.group.npy")
    reference = images[groups == index["classes"]["group"].index("a/1.wav")][1].astype(int)
    for suffix in suffixes:
        picture = images[groups == index["classes"]["group"].index(f"a/1{suffix}")][1].astype(int)
        assert np.median(np.abs(picture - reference)[reference > 128]) <= (0 if suffix == ".flac" else 12)
    (folder / "a/2.flac").write_text("no sound")
    assert "no readable .flac file, but text" in refused(folder, "2.flac", name="broken")
