"""SIGKILL to the flow, a stage, DVC and the server, at random moments; see ``chaos.rounds``."""

import random

import pytest
from chaos.rounds import chaos

KILLS = 20


@pytest.mark.slow
def test_killed_work_ends_as_if_undisturbed(tmp_path):
    seed = random.SystemRandom().randrange(10**6)  # other moments each time; a failure shows the seed, for `make chaos SEED=`
    print(f"seed {seed}")
    assert chaos(tmp_path, KILLS, seed, print) >= KILLS // 4
