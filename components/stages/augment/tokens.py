"""Captions to tokens: choose the tokeniser of a view, apply it, and count what was cut."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.serving.text import (
    BPE,
    BYTES,
    END_OF_WORD,
    OPENAI,
    SPECIAL,
    SYMBOL_OF,
    SYMBOLS,
    Tokeniser,
    clean,
    symbols_of,
    words,
)
from components.stages.augment.divide import Divided
from components.stages.augment.policy.text import TextSettings

# OpenAI's merges, https://github.com/openai/CLIP/blob/main/clip/bpe_simple_vocab_16e6.txt.gz, unpacked.
OPENAI_SHA256 = "67603cfda2e032ad77b5f8808af37789d590db664b26df8705d2bf8b3c553fc8"
OPENAI_VOCABULARY = 49408
TEXT_REPORT = "text.json"  # in the view's report


def tokeniser_of(data: Divided, settings: TextSettings, key: str, root: Path) -> Tokeniser:
    """Return the view's tokeniser: a BPE is learnt from the captions of the training split, of nothing else.

    ``key``: "views.<name>.text"; ``root``: folder that a relative ``file`` starts from.
    """
    if settings.tokeniser == OPENAI:
        assert settings.file is not None, "checked by the settings"
        return Tokeniser(OPENAI, settings.context_length, openai_merges(root / settings.file, f"{key}.file"))
    if settings.tokeniser == BYTES:
        return Tokeniser(BYTES, settings.context_length)
    if "train" not in data.splits:
        raise SettingsError(f"{key}.tokeniser: bpe is learnt from the captions of the training split, and there is none")
    training = list(chain(*captions_by_picture(data, "train")))
    return Tokeniser(BPE, settings.context_length, learn_merges(training, settings.vocabulary - SYMBOLS - SPECIAL))


def learn_merges(captions: Sequence[str], most: int) -> tuple[tuple[str, str], ...]:
    """Learn at most ``most`` merges from the captions, the most frequent pair of symbols first (Sennrich et al. 2016).

    Every word is counted as often as it occurs. Fewer merges suffice if every word has become one token.
    """
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    counts = Counter(word for caption in captions for word in words(clean(caption)))
    if most == 0 or not counts:
        return ()
    single = list(SYMBOL_OF.values())
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=SYMBOLS + most,
        initial_alphabet=single,
        # Pairs of equal counts rank by the ids of their symbols: named here, for the library takes others in random order.
        special_tokens=[symbol + END_OF_WORD for symbol in single],
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    spelt = {word: "".join(symbols_of(word)).removesuffix(END_OF_WORD) for word in sorted(counts)}
    learner.train_from_iterator((f"{spelt[word]} " * counts[word] for word in spelt), trainer)
    merges = json.loads(learner.to_str())["model"]["merges"][:most]
    return tuple((first, second) for first, second in merges)


def openai_merges(path: Path, key: str) -> tuple[tuple[str, str], ...]:
    """Read the merges of OpenAI's vocabulary file, packed or not; SettingsError if it is absent or another file.

    The file is held to its published sum: a view depends on its content, which DVC does not see.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except OSError as error:
        raise SettingsError(f"{key}: {path}: {error.strerror or error}; OpenAI's repository CLIP has it") from None
    except (EOFError, zlib.error) as error:
        raise SettingsError(f"{key}: {path}: broken gzip file: {error}") from None
    if (found := hashlib.sha256(data).hexdigest()) != OPENAI_SHA256:
        raise SettingsError(f"{key}: {path} is not OpenAI's bpe_simple_vocab_16e6.txt: SHA-256 {found}, not {OPENAI_SHA256}")
    lines = data.decode().split("\n")[1 : 1 + OPENAI_VOCABULARY - SYMBOLS - SPECIAL]
    return tuple((first, second) for first, second in (line.split() for line in lines))


def tokenise(captions: Sequence[str], tokeniser: Tokeniser, truncate: bool) -> np.ndarray:
    """Return tokens [captions, T], uint8 for bytes, else uint16.

    ValueError for a caption that cannot be encoded, and, without ``truncate``, for a longer one.
    """
    tokens, cut = tokeniser.tokens(captions)
    if cut.any() and not truncate:
        raise ValueError(_too_long([caption for caption, longer in zip(captions, cut, strict=True) if longer], tokeniser))
    return tokens.astype(np.uint8 if tokeniser.kind == BYTES else np.uint16)


def _too_long(captions: list[str], tokeniser: Tokeniser) -> str:
    caption = captions[0]
    unit = "bytes" if tokeniser.kind == BYTES else "tokens"
    length = len(tokeniser.encode(caption)) + (0 if tokeniser.kind == BYTES else SPECIAL)
    more = f" (and {len(captions) - 1} more captions)" if len(captions) > 1 else ""
    long = f"the caption {caption!r} has {length} {unit}, more than context_length, {tokeniser.context_length}{more}"
    return f"{long}; truncate: true cuts it"


def captions_of(text: str | Sequence[str]) -> list[str]:
    """Return all captions of an image, whose text is one caption or a list of them."""
    return [text] if isinstance(text, str) else list(text)


def captions_by_picture(data: Divided, split: str) -> list[list[str]]:
    """Return the captions of each picture of a split, without augmented copies."""
    assert data.table.texts is not None, "checked with the columns"
    return [captions_of(data.table.texts[row]) for row in data.splits[split].tolist()]


def text_report(data: Divided, tokeniser: Tokeniser) -> dict[str, Any]:
    """Count captions per split for the view's report: all, those that were cut, and those that several pictures have.

    The last, ``shared``, are false negatives of a contrastive loss unless it takes them for positives.
    """
    report: dict[str, Any] = {"tokeniser": tokeniser.kind, **tokeniser.facts(), "splits": {}}
    for split in data.splits:
        captions = captions_by_picture(data, split)
        pictures = Counter(chain(*(set(own) for own in captions)))
        report["splits"][split] = {
            "pictures": len(captions),
            "captions": sum(map(len, captions)),
            "shared": sum(pictures[caption] > 1 for own in captions for caption in own),
            "cut": int(tokeniser.tokens(list(chain(*captions)))[1].sum()),
        }
    return report


def text_summary(report: dict[str, Any]) -> list[str]:
    """Return the lines about captions that the stage prints."""
    lines = [
        f"captions as {report['tokeniser']}, {report['vocabulary_size']} tokens in all, {report['context_length']} a caption"
    ]
    for split, counts in report["splits"].items():
        facts = f"{counts['captions']} captions of {counts['pictures']} pictures"
        lines.append(f"{split}: {facts}; {counts['shared']} that several pictures have, {counts['cut']} cut")
    return lines
