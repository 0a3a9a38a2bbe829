"""Mel-cepstral distortions of translators that are perfect, idle, or between."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sound.tones import RATE, tone

from components.core.batch import Split, ViewFacts
from components.sound.mel import MelScale
from components.sound.playback import picture_of
from components.translation.voice_evaluation import Settings, between, evaluate

SCALE = MelScale(RATE, 256, 64, 16, 100, 3800, -80, 20)
VOICES, WORDS, TAKES = ("anna", "rex"), ("a", "o", "u"), 2


def picture(voice, word, take):
    """A voice is a tilt of the spectrum, a word its pitch, a take its length."""
    signal = tone(200.0 * (1 + 0.4 * word), 0.2 + 0.05 * take)
    signal = np.diff(signal, prepend=0.0) * 3 if voice else signal
    image = picture_of(signal, SCALE)
    return np.pad(image, ((0, 0), (0, 40 - image.shape[1])))[..., None]


@pytest.fixture(scope="module")
def split():
    rows = [(voice, word, take) for voice in range(2) for word in range(3) for take in range(TAKES)]
    image = torch.tensor(np.stack([picture(*row) for row in rows]))
    domain, label, _ = (torch.tensor(column) for column in zip(*rows, strict=True))
    classes = {"domain": VOICES, "label": WORDS, "sound": (SCALE.name,)}
    facts = ViewFacts("voices", (16, 40), 1, classes, (0.0,), (1.0,), {"test": len(rows)}, "")
    return Split(facts, [{"image": image, "domain": domain, "label": label}])


class Translator:
    """Answers with the target's own picture of the word and take, or with the input."""

    def __init__(self, split, *, perfect, sound=SCALE.name):
        self.facts = {"image_size": [16, 40], "channels": 1, "domains": list(VOICES), "style_width": 0}
        self.facts |= {"sound": sound} if sound else {}
        (self.batch,), self.perfect = split.batches, perfect

    def translate(self, image, domain, *, style=None, reference=None, seed=0, first=0):
        if not self.perfect:
            return image
        known = self.batch["image"].numpy()
        places = [int((known == one).all((1, 2, 3)).argmax()) for one in image]
        half = len(known) // 2
        return np.stack([known[place % half + half * target] for place, target in zip(places, domain, strict=True)])

    def there_and_back(self, image, source, domain):
        return image


def report_of(split, **options):
    settings = SimpleNamespace(evaluate=Settings(images=6, rows=1))
    return evaluate(Translator(split, **options), {"main": split}, settings, {})


def test_a_perfect_translation_is_as_near_as_another_recording_and_the_input_is_far(split):
    perfect, idle = (report_of(split, perfect=perfect) for perfect in (True, False))
    figures = {name: metric.value for name, metric in perfect.metrics.items()}
    assert figures["mel_cepstral_distortion"] < 0.3 * figures["mel_cepstral_distortion_identity"]
    assert figures["mel_cepstral_distortion_real"] < 0.5 * figures["mel_cepstral_distortion_identity"]
    assert perfect.metrics["mel_cepstral_distortion"].better == "min"
    same = idle.metrics
    assert same["mel_cepstral_distortion"].value == same["mel_cepstral_distortion_identity"].value
    assert [(row["source"], row["target"], row["images"]) for row in idle.tables["distortions"]] == [
        ("anna", "rex", 6),
        ("rex", "anna", 6),
    ]


def test_pictures_that_are_not_known_to_be_sound_have_no_distortion(split):
    assert "distortions" not in report_of(split, perfect=False, sound=None).tables


def test_silence_after_a_word_does_not_count():
    one = picture(0, 0, 0)
    alone = one[:, : int(np.flatnonzero(one.max((0, 2)))[-1]) + 1]
    assert alone.shape[1] < one.shape[1] - 5
    assert between(one, alone, SCALE) == 0
