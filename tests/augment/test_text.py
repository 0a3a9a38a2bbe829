"""Views with captions: tokenisers of bytes, learnt merges and OpenAI's file."""

import gzip
import hashlib
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.core.config.strict import SettingsError, parse
from components.core.files import read_json
from components.serving.text import Tokeniser
from components.stages.augment import tokens as module
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.text import TextSettings
from components.stages.augment.prepare import make_view
from components.stages.augment.tokens import learn_merges, text_summary
from components.stages.views.view import open_view

BLOCK = {"split": {"by": "group", "test": 0.25}}
BPE = {"tokeniser": "bpe", "vocabulary": 600, "context_length": 8}


def test_a_vocabulary_is_learnt_from_the_training_captions_alone(annotated, make):
    tested = set(make(annotated(), **BLOCK).split("test").columns["group"].tolist())

    def captions(values):
        groups = values["columns"]["group"].tolist()
        values["text"] = ["zebra zebra" if group in tested else f"picture {group}" for group in groups]

    view = make(annotated("other", captions), text=BPE | {"truncate": True}, folder="learnt", **BLOCK)
    tokeniser = view.tokeniser
    assert tokeniser.merges == learn_merges(view.texts("train"), 86)
    assert len(tokeniser.encode("picture")) == 1
    assert len(tokeniser.encode("zebra")) == 5, "test captions teach nothing"
    facts = view.facts
    assert (facts.vocabulary_size, facts.start_id, facts.end_id, facts.pad_id) == (
        tokeniser.vocabulary_size,
        tokeniser.start_id,
        tokeniser.end_id,
        0,
    )
    stored = np.load(view.folder / "train.tokens.npy")
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, tokeniser.tokens(view.texts("train"))[0])
    (batch,) = view.batches("test", 100)
    assert batch["tokens"].dtype == torch.int64
    assert tokeniser.decode(batch["tokens"][0].numpy()) == "zebra z", "cut at 8 tokens, with start and end"


@pytest.mark.parametrize("vocabulary", [514, 515, 520])
def test_a_learnt_vocabulary_is_as_large_as_asked_where_captions_have_enough(vocabulary, tmp_path):
    texts = ["".join(letters) for letters in product("abcd", repeat=3)]
    data = SimpleNamespace(splits={"train": np.arange(len(texts))}, table=SimpleNamespace(texts=texts))
    settings = parse(TextSettings, BPE | {"vocabulary": vocabulary}, "views.v.text")
    found = module.tokeniser_of(data, settings, "views.v.text", tmp_path)
    assert (found.vocabulary_size, len(found.merges)) == (vocabulary, vocabulary - 514)


def test_the_same_merges_in_every_process():
    """Many pairs are equally frequent; the library alone ranks them in random order."""
    captions = ["".join(letters) for letters in product("abcdefgh", repeat=3)]
    code = f"from components.stages.augment.tokens import learn_merges; print(learn_merges({captions!r}, 300))"
    command, root = [sys.executable, "-c", code], Path(module.__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(learn_merges(captions, 300))


def test_bytes_are_written_as_before(annotated, make):
    view = make(annotated(), text={"context_length": 12}, **BLOCK)
    assert np.load(view.folder / "train.tokens.npy").dtype == np.uint8
    assert not (view.folder / "tokeniser.json").exists()
    stored = read_json(view.folder / "view.json")
    assert not {"vocabulary_size", "start_id", "end_id", "pad_id"} & set(stored)
    assert view.tokeniser == Tokeniser("bytes", 12)
    with pytest.raises(ValueError, match="view 'plain' has no tokens"):
        make(annotated("plain"), name="plain", **BLOCK).tokeniser  # noqa: B018


def test_what_is_cut_and_shared_is_counted(annotated, tmp_path):
    settings = parse(ViewSettings, {"dataset": "d", "image_size": 12, "channels": 1, "text": BPE, **BLOCK}, "views.v")
    short = settings.model_copy(update={"text": settings.text.model_copy(update={"context_length": 4})})
    dataset = annotated()
    with pytest.raises(ValueError, match=r"the caption '.*' has \d+ tokens, more than context_length, 4 .*truncate: true"):
        make_view("v", short, dataset, tmp_path / "view", 0)
    cutting = settings.model_copy(update={"text": settings.text.model_copy(update={"context_length": 4, "truncate": True})})
    make_view("v", cutting, dataset, tmp_path / "view", 0, report=tmp_path / "report")
    report = read_json(tmp_path / "report" / "text.json")
    view = open_view(tmp_path / "view")
    for split, counts in report["splits"].items():
        texts = [text for own in view.texts(split) for text in own]
        assert counts["captions"] == len(texts)
        assert counts["shared"] == texts.count("öß") > 1
        assert counts["cut"] == sum(len(view.tokeniser.encode(text)) > 2 for text in texts)
    assert sum(counts["cut"] for counts in report["splits"].values()) > 0
    assert len(text_summary(report)) == 3


def test_openais_file(annotated, tmp_path, monkeypatch):
    lines = ["version", *(f"{a} {b}" for a, b in learn_merges(["picture square"] * 3, 8)), "", ""]
    data = "\n".join(lines).encode()
    text = {"tokeniser": "openai", "context_length": 9, "file": "vocabulary.gz"}
    block = {"dataset": "d", "image_size": 12, "channels": 1, "text": text, **BLOCK}
    settings, dataset = parse(ViewSettings, block, "views.v"), annotated()

    def made():
        make_view("v", settings, dataset, tmp_path / "view", 0, root=tmp_path)
        return open_view(tmp_path / "view")

    with pytest.raises(SettingsError, match=r"views\.v\.text\.file: .*vocabulary\.gz: No such file"):
        made()
    (tmp_path / "vocabulary.gz").write_bytes(gzip.compress(data))
    with pytest.raises(SettingsError, match=r"vocabulary\.gz is not OpenAI's bpe_simple_vocab_16e6\.txt: SHA-256"):
        made()
    monkeypatch.setattr(module, "OPENAI_SHA256", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(module, "OPENAI_VOCABULARY", 512 + 8 + 2)
    assert made().facts.vocabulary_size == 522
    (tmp_path / "vocabulary.gz").write_bytes(gzip.compress(data)[:-9])
    with pytest.raises(SettingsError, match="broken gzip file"):
        made()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"tokeniser": "openai", "context_length": 77}, "openai needs file"),
        ({"tokeniser": "bpe", "context_length": 77, "file": "x"}, "no other takes one"),
        ({"context_length": 77, "vocabulary": 600}, "vocabulary needs tokeniser: bpe, this is bytes"),
        ({"tokeniser": "bpe", "context_length": 2}, "context_length 2 holds no text"),
        ({"tokeniser": "bpe", "context_length": 8, "vocabulary": 513}, "vocabulary"),
        ({"tokeniser": "openai", "context_length": 77, "file": ""}, r"views\.v\.text\.file"),
    ],
)
def test_settings_that_do_not_agree_are_refused(text, message):
    with pytest.raises(SettingsError, match=message):
        parse(ViewSettings, {"dataset": "d", "image_size": 12, "channels": 1, "text": text}, "views.v")


def test_a_view_without_training_captions_learns_nothing(annotated, tmp_path):
    dataset = annotated()
    index = json.loads((dataset / "dataset.json").read_text())
    index["splits"] = {"test": index["splits"]["all"]}
    (dataset / "dataset.json").write_text(json.dumps(index))
    settings = parse(ViewSettings, {"dataset": "d", "image_size": 12, "channels": 1, "text": BPE}, "views.v")
    with pytest.raises(SettingsError, match=r"views\.v\.text\.tokeniser: bpe is learnt from .* training split"):
        make_view("v", settings, dataset, tmp_path / "view", 0)
