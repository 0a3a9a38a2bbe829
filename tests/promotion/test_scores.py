"""Scores are kept whole, and read back for the same version, export and data only."""

import numpy as np

from components.registry.promotion.scores import read_scores, scores_file, write_scores

DATA = "d" * 32


def test_they_come_back_as_they_were(work, scores):
    write_scores("a", scores(3))
    found = read_scores("a", 1, DATA, "k")
    assert (found.metrics, found.better, found.latency) == (scores(3).metrics, scores(3).better, scores(3).latency)
    assert found.group_names == ("zero", "one")
    np.testing.assert_array_equal(found.items["accuracy"], scores(3).items["accuracy"])
    np.testing.assert_array_equal(found.groups, scores(3).groups)
    assert found.predicted is None
    write_scores("c", scores(predicted=np.arange(200), probability=np.full(200, 0.5, np.float32)))
    found = read_scores("c", 1, DATA, "k")
    np.testing.assert_array_equal(found.predicted, np.arange(200))
    assert (found.probability.dtype, list(found.items)) == (np.float32, ["accuracy"])
    write_scores("b", scores(groups=None, items={}))
    assert read_scores("b", 1, DATA, "k").groups is None


def test_of_another_export_data_or_version_there_are_none(work, scores):
    write_scores("a", scores())
    assert read_scores("a", 1, DATA, "k") is not None
    assert [read_scores("a", *key) for key in ((1, DATA, "other"), (1, "e" * 32, "k"), (2, DATA, "k"))] == [None] * 3
    path = scores_file("a", 1, DATA)
    path.rename(scores_file("a", 2, DATA))  # what it says of itself counts
    assert read_scores("a", 2, DATA, "k") is None


def test_a_file_of_garbage_counts_as_none(work, scores):
    write_scores("a", scores())
    path = scores_file("a", 1, DATA)
    whole = path.read_bytes()
    for garbage in (b"", b"PK\x03\x04garbage", whole[: len(whole) // 2], b"\x80\x04N."):
        path.write_bytes(garbage)
        assert read_scores("a", 1, DATA, "k") is None
    np.savez(path, text=np.array('{"version": 1}'))
    assert read_scores("a", 1, DATA, "k") is None
