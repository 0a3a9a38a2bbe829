"""What a plan says of a user's changed folder."""

from __future__ import annotations

import pytest

from components.core.inputs.listings import changes

BEFORE = {f"rose/{index}.jpg": f"r{index}" for index in range(4)} | {f"oak/{index}.jpg": f"o{index}" for index in range(2)}


def without(*names: str) -> dict[str, str]:
    return {name: digest for name, digest in BEFORE.items() if name not in names}


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BEFORE, ""),
        (BEFORE | {"oak/new.jpg": "x"}, "1 picture added"),
        (without("oak/0.jpg") | {"oak/a.jpg": "x", "oak/b.jpg": "y"}, "2 pictures added, 1 removed"),
        (BEFORE | {"oak/0.jpg": "x"}, "1 picture changed"),
        (BEFORE | {"labels.csv": "x"}, "1 file added"),
        (without("oak/0.jpg") | {"rose/again.jpg": "o0"}, "1 picture moved"),
        ({name.replace("rose", "roses"): digest for name, digest in BEFORE.items()}, "rose renamed to roses"),
        (
            {name.replace("rose", "roses"): digest for name, digest in without("rose/0.jpg").items()} | {"roses/a.jpg": "x"},
            "1 picture added, 1 removed, rose renamed to roses",
        ),
        (
            {name: digest for name, digest in BEFORE.items() if "rose" not in name} | {"elm/1.jpg": "e"},
            "1 picture added, 4 removed",
        ),
    ],
)
def test_changes_of_a_folder_in_words(after: dict[str, str], said: str) -> None:
    assert changes(BEFORE, after) == said
