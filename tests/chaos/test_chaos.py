"""SIGKILL to the flow, a stage, DVC and the server, at random moments; see ``chaos.rounds``."""

import pytest
from chaos.rounds import chaos

KILLS, SEED = 20, 3  # `make chaos KILLS=200 SEED=...` for more, and for other moments


@pytest.mark.slow
def test_killed_work_ends_as_if_undisturbed(tmp_path):
    assert chaos(tmp_path, KILLS, SEED, print) > 1, "no kill made a second flow necessary"
