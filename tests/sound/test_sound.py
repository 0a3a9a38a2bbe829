"""Sound to picture and back: each equation against an independent one, and what a round trip keeps."""

import io
import itertools
import wave

import numpy as np
import pytest
from sound.tones import RATE, tone

from components.sound import distances, griffin_lim, mel, playback, spectrum, windows
from components.sound.files import wav_bytes

SCALE = mel.MelScale(RATE, 512, 128, 40, 80, 3800, -80, 20)


@pytest.fixture
def voice():
    return np.concatenate([tone(hz, 0.4) for hz in (150.0, 240.0, 190.0)])


def test_the_spectrum_is_that_of_each_windowed_frame_and_its_inverse_gives_the_signal(voice):
    found = spectrum.stft(voice, 512, 128)
    assert found.shape == (1 + len(voice) // 128, 257)
    frame = voice[10 * 128 - 256 : 10 * 128 + 256] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))
    angles = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512)
    np.testing.assert_allclose(found[10], angles @ frame, atol=1e-9)
    np.testing.assert_allclose(spectrum.istft(found, 128, len(voice)), voice, atol=1e-12)
    assert spectrum.stft(voice[:100], 512, 128).shape == (1, 257)


def test_mel_filters_are_triangles_of_unit_area_at_slaneys_frequencies():
    filters = mel.mel_filters(SCALE)
    area = filters.sum(1) * SCALE.rate / SCALE.fft
    np.testing.assert_allclose(area[8:], 1, atol=0.05)
    np.testing.assert_allclose(mel.mel_to_hz(mel.hz_to_mel(np.array([50.0, 1000.0, 3000.0]))), [50, 1000, 3000])
    assert mel.hz_to_mel(np.array([1000.0, 6400.0])).tolist() == pytest.approx([15, 42])  # Slaney: ln 6.4 in 27 steps


def test_a_scale_is_read_back_from_its_name_and_nonsense_is_refused():
    for scale in (SCALE, mel.MelScale(RATE, 512, 128, 40, 80.5, 3800, -80, 20, -23.0)):
        assert mel.MelScale.parse(scale.name) == scale
    with pytest.raises(ValueError, match="'rate=1' does not describe pictures of sound"):
        mel.MelScale.parse("rate=1")
    with pytest.raises(ValueError, match="hold no frequency"):
        mel.MelScale(RATE, 128, 64, 80, 80, 3800, -80, 20)


def test_a_picture_keeps_amplitudes_to_half_a_grey_level(voice):
    amplitude = mel.mel_amplitude(voice, SCALE)
    picture = mel.to_picture(amplitude, SCALE)
    inside = (picture > 0) & (picture < 255)
    error = 20 * np.log10(np.maximum(mel.from_picture(picture, SCALE), 1e-9) / amplitude)
    assert np.abs(error[inside[::-1].T]).max() <= 0.5 * 100 / 255 + 1e-9
    assert mel.from_picture(np.zeros((40, 3), np.uint8), SCALE).max() == 0


def test_the_inverse_of_the_filters_is_not_negative_and_gives_the_mel_bins_back(voice):
    target = mel.mel_amplitude(voice, SCALE)
    found = griffin_lim.linear_amplitude(target, SCALE)
    assert found.min() >= 0
    assert distances.spectral_convergence(target, found @ mel.mel_filters(SCALE).T) < 0.03
    cut_off = np.maximum(target @ np.linalg.pinv(mel.mel_filters(SCALE)).T, 0)
    assert distances.spectral_convergence(target, cut_off @ mel.mel_filters(SCALE).T) > 0.1, "the pseudo-inverse alone is worse"


def test_griffin_lim_comes_nearer_with_each_iteration_and_its_momentum_is_faster(voice):
    amplitude = np.abs(spectrum.stft(voice, 512, 128))

    def error(iterations, momentum):
        found = griffin_lim.griffin_lim(amplitude, 128, iterations=iterations, momentum=momentum, length=len(voice))
        return distances.spectral_convergence(amplitude, np.abs(spectrum.stft(found, 512, 128)))

    errors = [error(iterations, 0.0) for iterations in (0, 2, 8, 30)]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert error(30, 0.99) < errors[-1] < 0.3
    same = [griffin_lim.griffin_lim(amplitude, 128, iterations=2) for _ in range(2)]
    assert np.array_equal(*same)


def test_the_round_trip_of_a_voice(voice):
    _, figures = playback.round_trip(voice, playback.Player(SCALE))
    assert figures["spectral_convergence"] < 0.45
    assert figures["snr_db"] > 7
    coarse = mel.MelScale(RATE, 512, 128, 16, 80, 3800, -80, 20)
    _, worse = playback.round_trip(voice, playback.Player(coarse))
    assert worse["snr_db"] < figures["snr_db"] - 2, "fewer bins lose more"


def test_a_long_picture_is_played_in_sections_as_loud_as_whole(voice, monkeypatch):
    long = playback.picture_of(np.tile(voice, 3), SCALE)
    whole = playback.Player(SCALE, iterations=20).play(long)
    monkeypatch.setattr(playback, "SECTION", 60)
    monkeypatch.setattr(playback, "SEARCH", 30)
    parts = list(playback.sections(mel.from_picture(long, SCALE).sum(1)))
    assert len(parts) > 2
    assert [parts[0][0], parts[-1][1]] == [0, long.shape[1]]
    found = playback.Player(SCALE, iterations=20).play(long)
    assert len(found) == len(whole) == (long.shape[1] - 1) * SCALE.hop
    target = mel.from_picture(long, SCALE)
    errors = [distances.spectral_convergence(target, mel.mel_amplitude(signal, SCALE)) for signal in (whole, found)]
    assert errors[1] < 1.5 * errors[0]


@pytest.mark.parametrize("frames", [1, 16, 17, 40, 57])
def test_windows_that_are_not_changed_are_joined_to_the_picture_itself(frames):
    picture = np.random.default_rng(0).integers(0, 256, (12, frames), dtype=np.uint8)
    np.testing.assert_allclose(playback.translated(picture, 16, lambda windows: windows), picture)
    brighter = playback.translated(picture // 2, 16, lambda windows: windows + 100)
    np.testing.assert_allclose(brighter, picture // 2 + 100)


def test_windows_of_a_recording():
    assert windows.starts_of(10, 16, 16) == [0]
    assert windows.starts_of(23, 16, 16) == [0]
    assert windows.starts_of(24, 16, 16) == [0, 16]
    assert windows.starts_of(40, 16, 8) == [0, 8, 16, 24, 32]


def test_a_distance_in_db_and_the_alignment_of_words(voice):
    decibels = mel.decibels_of(mel.to_picture(mel.mel_amplitude(voice, SCALE), SCALE), SCALE)
    assert distances.mel_cepstral_distortion(decibels, decibels) == 0
    assert distances.mel_cepstral_distortion(decibels, decibels + 6) == pytest.approx(0), "loudness is c_0"
    assert distances.mel_cepstral_distortion(decibels, decibels.repeat(2, 0)) == 0, "a slower voice says the same"
    tilt = np.cos(np.pi * (np.arange(40) + 0.5) / 40)  # c_1 alone
    one = np.zeros((5, 40))
    assert distances.mel_cepstral_distortion(one, one + tilt) == pytest.approx(np.sqrt(np.mean(tilt**2)))
    cost = np.random.default_rng(0).random((4, 5))

    def paths(i, j):
        if (i, j) == (3, 4):
            yield cost[i, j]
        for a, b in ((1, 1), (1, 0), (0, 1)):
            if i + a < 4 and j + b < 5:
                yield from (cost[i, j] + rest for rest in paths(i + a, j + b))

    assert distances.alignment(cost)[0] == pytest.approx(min(paths(0, 0)))


def test_a_wav_file_is_16_bits_of_one_channel_and_never_clipped(voice):
    with wave.open(io.BytesIO(wav_bytes(voice * 4, RATE))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert abs(np.abs(samples).max() - 32767) <= 1
    np.testing.assert_allclose(samples / 32767, voice / np.abs(voice).max(), atol=1e-4)
