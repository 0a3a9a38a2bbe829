"""The tokeniser that exports ship, against the library ``tokenizers`` with the same merges."""

import random
import sys
import unicodedata

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from components.serving.text import END_OF_WORD, SYMBOL_OF, SYMBOLS, Tokeniser, clean, words
from components.stages.augment.tokens import learn_merges

CAPTIONS = [
    "A large red A left of a small blue B.",
    "a small blue B right of a large red A",
    "two dogs don't run; the dog's running (fast!) at 10 km/h",
    "the café in Köln, naïve ½ price — “best” coffee",
    "日本語の文字 and emoji 🎉🎉",
]
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # OpenAI's, without the special tokens


@pytest.fixture(scope="module")
def tokeniser():
    return Tokeniser("bpe", 12, learn_merges(CAPTIONS, 60))


@pytest.fixture(scope="module")
def library(tokeniser):
    vocabulary = {symbol: number for number, symbol in enumerate(tokeniser._symbols)}
    other = Tokenizer(models.BPE(vocabulary, list(tokeniser.merges), end_of_word_suffix=END_OF_WORD))
    other.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return other


def random_texts(count):
    """Any characters that both versions of Unicode know, and many that a text has."""
    generator = random.Random(0)
    known = [chr(code) for code in range(1, 0x2FA20) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    common = list("aAbcdesst   ''..,-_019\t\n&;é½²")
    return [
        "".join(generator.choice(generator.choice((known, common))) for _ in range(generator.randrange(40)))
        for _ in range(count)
    ]


def test_equal_to_the_library_on_captions_and_random_unicode(tokeniser, library):
    texts = [*CAPTIONS, *random_texts(1500), "", "<|endoftext|>", "x" * 300]
    for text in texts:
        assert tokeniser.encode(text) == library.encode(clean(text)).ids, text


def test_letters_are_those_of_unicode():
    """``words`` by ``re`` and ``str.isalpha``, which know no categories, against the categories."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not chr(code).isspace()]
    kinds = [unicodedata.category(character)[0] for character in characters]
    letters = "".join(character for character, kind in zip(characters, kinds, strict=True) if kind == "L")
    digits = "".join(character for character, kind in zip(characters, kinds, strict=True) if kind == "N")
    others = "".join(character for character, kind in zip(characters, kinds, strict=True) if kind not in "LN")
    assert list(words(letters + digits + others)) == [letters, *digits, others]


def test_the_parts_of_a_text():
    assert clean("  It&amp;#39;s\t “A”  ÉCOLE ") == 'it\'s "a" école'
    assert list(words("it's 12½ a_b !?'s")) == ["it", "'s", "1", "2", "½", "a", "_", "b", "!?'", "s"]


def test_ids_are_in_the_order_of_the_published_vocabulary():
    """The ids of bytes, start and end that OpenAI's weights were trained with."""
    openai = Tokeniser("openai", 77, tuple(("a", "b") for _ in range(48894)))
    assert (openai.vocabulary_size, openai.start_id, openai.end_id) == (49408, 49406, 49407)
    assert len(SYMBOL_OF) == len(set(SYMBOL_OF.values())) == SYMBOLS / 2
    assert Tokeniser("bpe", 8).tokens(["!a \x00"])[0].tolist() == [[512, 256, 256 + 64, 256 + 188, 513, 0, 0, 0]]


def test_a_longer_text_keeps_its_end(tokeniser):
    tokens, cut = tokeniser.tokens([CAPTIONS[0], "red", " ".join(["red"] * 10), " ".join(["red"] * 11)])
    assert cut.tolist() == [True, False, False, True]
    assert (tokens[:, 0] == tokeniser.start_id).all()
    assert (tokens == tokeniser.end_id).sum(1).tolist() == [1] * 4
    np.testing.assert_array_equal(tokens[2], tokens[3])
    assert tokens[1].tolist()[3:] == [0] * 9, "padding after the end"


def test_decoding_gives_the_clean_text_back(tokeniser):
    for text in (*CAPTIONS[:2], "日本語"):
        assert tokeniser.decode(tokeniser._with_ends(tokeniser.encode(text))).replace(" ", "") == clean(text).replace(" ", "")
    assert Tokeniser("bytes", 4).decode([97, 0, 0, 0]) == "a"


def test_a_file_is_read_as_it_was_written(tokeniser, tmp_path):
    from components.core.files import write_json

    write_json(tmp_path / "tokeniser.json", tokeniser.as_json(), ensure_ascii=False)
    assert Tokeniser.read(tmp_path / "tokeniser.json") == tokeniser
    for broken in ("{", "[]", '{"kind": "bpe", "context_length": 4, "merges": ["ab"]}', '{"kind": "bpe"}'):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(ValueError, match=r"broken\.json: not a tokeniser"):
            Tokeniser.read(tmp_path / "broken.json")


def test_what_is_no_text_is_refused(tokeniser):
    with pytest.raises(ValueError, match="half a surrogate pair"):
        tokeniser.encode("a\ud800")
    with pytest.raises(ValueError, match="NUL"):
        Tokeniser("bytes", 4).encode("a\0")
