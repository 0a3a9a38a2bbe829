"""What a served translator is asked, and the styles that it draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.core.batch import ViewFacts
from components.serving.translating import parse_request, random_styles
from components.translation.interface import check_batch, domains_of, signature

FACTS = {"image_size": 8, "channels": 1, "domains": ["plain", "slanted"], "style_width": 3}
VIEW = ViewFacts("fonts", 8, 1, {"domain": ("plain", "slanted")}, (0.0,), (1.0,), {"train": 2}, "")
IMAGE = np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1)
INPUTS = {"image": IMAGE, "domain": np.array([1, 0])}


def ask(inputs: Any = INPUTS, facts: dict[str, Any] = FACTS, **params: Any) -> Any:
    return parse_request(facts, signature(VIEW, facts["style_width"]), inputs, params)


def test_a_style_is_a_seed_s_or_given_or_an_example_s() -> None:
    assert (ask(seed=4).seed, ask().style, ask().reference) == (4, None, None)
    np.testing.assert_array_equal(ask(style_from="style", style=[1, 2, 3]).style, np.array([[1, 2, 3], [1, 2, 3]], np.float32))
    one = ask(INPUTS | {"reference": IMAGE[:1]}, style_from="reference").reference
    np.testing.assert_array_equal(one, IMAGE[[0, 0]])
    assert ask(INPUTS | {"reference": IMAGE}).reference is None  # the seed's, since nothing else is asked


@pytest.mark.parametrize(
    ("inputs", "params", "message"),
    [
        ({"image": IMAGE}, {}, "must be a mapping with image and domain and reference, found image"),
        (INPUTS | {"label": IMAGE}, {}, "must be a mapping with image and domain and reference"),
        (IMAGE, {}, "must be a mapping with image and domain and reference, found ndarray"),
        (INPUTS | {"domain": np.array([0, 2])}, {}, r"domain: 2 whole numbers are expected \(0 plain, 1 slanted\)"),
        (INPUTS | {"domain": np.array([0.0, 1.0])}, {}, "domain: 2 whole numbers"),
        (INPUTS, {"style_from": "reference"}, "reference: style_from is 'reference', and there is no such input"),
        (INPUTS | {"reference": IMAGE[:, :4]}, {"style_from": "reference"}, r"reference: the shape must be \[N, 8, 8, 1\]"),
        (
            INPUTS | {"reference": IMAGE[[0, 0, 0]]},
            {"style_from": "reference"},
            "reference: 1 or 2 images are expected, found 3",
        ),
        (INPUTS, {"style_from": "style"}, "style: 3 finite numbers are expected"),
        (INPUTS, {"style_from": "style", "style": [1, 2, np.nan]}, "style: 3 finite numbers are expected"),
        (INPUTS, {"style_from": "chance"}, "style_from: 'chance' is not allowed: seed, reference, style"),
        (INPUTS, {"seed": -1}, "seed: a whole number of at least 0"),
        (INPUTS, {"gamma": 1}, "params: gamma is not known; allowed: style_from, seed, style"),
    ],
)
def test_anything_else_is_refused(inputs: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(inputs, **params)


def test_a_translator_without_styles_takes_neither_reference_nor_seed() -> None:
    plain = FACTS | {"style_width": 0}
    assert ask(facts=plain).domain.tolist() == [1, 0]
    with pytest.raises(ValueError, match="params: seed is not known; allowed: none"):
        ask(facts=plain, seed=1)


def test_a_style_depends_on_its_seed_and_place_alone() -> None:
    drawn = random_styles(400, 8, seed=3)
    np.testing.assert_array_equal(random_styles(2, 8, seed=3, first=5), drawn[5:7])
    assert not np.isin(random_styles(400, 8, seed=4), drawn).any()
    assert abs(drawn.mean()) < 4 / np.sqrt(3200)
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2 / 3200)


def test_a_view_must_have_domains() -> None:
    assert domains_of(VIEW) == ("plain", "slanted")
    with pytest.raises(
        ValueError, match=r"no domains to translate between: name a column as views\.fonts\.domain; it has label"
    ):
        domains_of(ViewFacts("fonts", 8, 1, {"label": ("a", "b")}, (0.0,), (1.0,), {}, ""))
    with pytest.raises(ValueError, match="one domain, plain"):
        domains_of(ViewFacts("fonts", 8, 1, {"domain": ("plain",)}, (0.0,), (1.0,), {}, ""))


def test_a_batch_holds_each_domain_equally_often() -> None:
    check_batch(12, 2, 3)
    with pytest.raises(ValueError, match=r"batch_size: 8 is not allowed: a multiple of the 3 domains is needed; the next is 9"):
        check_batch(8, 1, 3)
    with pytest.raises(ValueError, match=r"3 domains for each of 2 processes is needed; the next is 12"):
        check_batch(8, 2, 3)
