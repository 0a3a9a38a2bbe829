"""The bounds of what stands at the top of params.yaml."""

import pytest

from components.core.config.params import Params
from components.core.config.strict import SettingsError, parse

EMPTY = {"root": "../..", "datasets": {}, "views": {}, "runs": {}}


def test_a_seed_is_a_number_that_numpy_and_torch_take():
    for seed in (0, 2**31 - 1):
        assert parse(Params, EMPTY | {"seed": seed}, "").seed == seed
    for seed in (-1, 2**31, 1.5):
        with pytest.raises(SettingsError, match="seed"):
            parse(Params, EMPTY | {"seed": seed}, "")


def test_the_path_to_the_code_is_a_part_of_a_command():
    with pytest.raises(SettingsError, match="root"):
        parse(Params, EMPTY | {"seed": 0, "root": "a; b"}, "")
