"""Near-duplicates: found after compression, scaling and brightness, others are not; the search finds what a loop finds."""

import io

import numpy as np
import pytest
from PIL import Image

from components.stages.augment.quality import near
from components.stages.augment.quality.near import Pairs, close_hashes, confirmed, identities, near_duplicates, perceptual_hash
from components.stages.augment.quality.thumbnails import box_means, thumbnails


def scenes(count, side=64, seed=0):
    """Smooth pictures of random colours, as photographs are: uint8 [N, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)) for picture in coarse])


def reencoded(picture, quality=50):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def rescaled(picture):
    image = Image.fromarray(picture)
    return np.asarray(image.resize((40, 40), Image.Resampling.LANCZOS).resize(image.size, Image.Resampling.BICUBIC))


def brighter(picture):
    return np.clip(picture.astype(int) + 8, 0, 255).astype(np.uint8)


def test_copies_by_compression_scaling_and_brightness_are_found_and_no_other_pair():
    pictures = scenes(60)
    changed = [change(pictures[index]) for index, change in ((3, reencoded), (17, rescaled), (40, brighter))]
    images = np.concatenate([pictures, changed])
    pairs = near_duplicates(thumbnails(images), [bytes([index + 1]) for index in range(63)], distance=4)
    assert sorted(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(3, 60), (17, 61), (40, 62)]
    assert pairs.complete


def test_pixels_alone_tell_copies_from_similar_pictures():
    """Whatever the hashes say: a copy is confirmed, a picture with a patch of another is not."""
    pictures = scenes(6)
    patched = pictures[0].copy()
    patched[16:40, 16:40] = pictures[1][16:40, 16:40]
    images = np.concatenate([pictures, [brighter(reencoded(pictures[0])), patched]])
    first, second = np.triu_indices(len(images), k=1)
    pairs = confirmed(Pairs(first, second), thumbnails(images))
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 6)]


def test_noise_a_share_of_the_contrast_and_brightness_have_their_limits():
    """Variance of a difference: 4, and 3 % of the picture's own; 25 levels of brightness."""
    signs = np.indices((16, 16)) % 2 * 2 - 1  # across and down: without correlation
    flat, contrast = np.full((16, 16), 120), 120 + 100 * signs[0]
    limits = [(flat, flat + 2 * signs[1], flat + 3 * signs[1]), (contrast, contrast + 17 * signs[1], contrast + 18 * signs[1])]
    limits += [(contrast, contrast + 25, contrast + 26), (flat, flat - 25, flat - 26)]
    for picture, near_by, other in limits:
        small = thumbnails(np.stack([picture, near_by, other])[..., None].astype(np.uint8))
        pairs = confirmed(Pairs(np.array([0, 0]), np.array([1, 2])), small)
        assert pairs.second.tolist() == [1]


def test_the_hash_tells_pictures_apart_and_not_their_copies():
    """What it does not tell apart must be compared by pixels."""
    pictures = scenes(40)
    hashes = perceptual_hash(thumbnails(np.stack([*pictures, *(reencoded(picture, 90) for picture in pictures)])).grey)
    apart = np.bitwise_count(hashes[:40, None] ^ hashes[None, 40:])
    assert np.diagonal(apart).max() <= 4
    assert apart[~np.eye(40, dtype=bool)].min() > 8
    assert np.median(apart) == pytest.approx(63 / 2, abs=2)


def test_the_scatter_of_many_thumbnails_is_their_variance():
    levels = np.random.default_rng(0).integers(0, 256, (4100, 16, 16, 1), dtype=np.uint8)
    found = thumbnails(levels).scatter
    np.testing.assert_allclose(found / 256**2, levels.reshape(4100, -1).var(axis=1), rtol=1e-12)


def test_equal_hashes_of_different_pixels_are_no_pair():
    """Black, grey and white have no directions at all: their hashes are equal."""
    images = np.repeat(np.array([0, 128, 255], dtype=np.uint8), 16 * 16).reshape(3, 16, 16, 1)
    small = thumbnails(images)
    assert len(set(perceptual_hash(small.grey).tolist())) == 1
    assert len(near_duplicates(small, [b"a", b"b", b"c"], distance=4)) == 0


def test_only_the_first_picture_of_equal_ones_is_compared_and_unreadable_ones_are_not():
    images = np.concatenate([scenes(2), scenes(2)[1:], [brighter(scenes(2)[1])], scenes(2)[:1]])
    pairs = near_duplicates(thumbnails(images), [b"a", b"b", b"b", b"c", b""], distance=4)
    assert [pairs.first.tolist(), pairs.second.tolist()] == [[1], [3]]


@pytest.mark.parametrize("distance", [0, 3, 4, 8])
def test_the_search_by_bands_finds_what_comparing_all_finds(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    flips = np.array([np.bitwise_or.reduce(np.uint64(1) << rng.choice(63, size, replace=False).astype(np.uint64)) for size in
                      rng.integers(1, 11, 300)])  # fmt: skip
    hashes = np.concatenate([hashes, hashes ^ flips, hashes[:5]])
    pairs = close_hashes(hashes, distance)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    first, second = np.nonzero(np.triu(apart <= distance, k=1))
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == set(
        zip(first.tolist(), second.tolist(), strict=True)
    )
    assert len(first) >= 5


def test_a_search_without_end_is_ended_and_says_so(monkeypatch):
    monkeypatch.setattr(near, "MAX_PAIRS", 100)
    pairs = close_hashes(np.zeros(1000, dtype=np.uint64), 4)
    assert len(pairs) == 100
    assert not pairs.complete


def test_chains_of_near_duplicates_have_one_identity_whatever_their_order():
    digests = [b"d", b"a", b"c", b"b", b"e"]
    chain = Pairs(np.array([0, 2]), np.array([2, 3]))
    assert identities(digests, chain) == [b"b", b"a", b"b", b"b", b"e"]


@pytest.mark.parametrize("size", [(5, 9), (16, 16), (17, 40), (64, 64)])
def test_box_means_are_those_of_the_regions(size):
    levels = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.int32)
    found = box_means(levels, 8)
    for row in range(8):
        for column in range(8):
            low, left = row * size[0] // 8, column * size[1] // 8
            high, right = max(low + 1, (row + 1) * size[0] // 8), max(left + 1, (column + 1) * size[1] // 8)
            assert np.array_equal(
                found[:, row, column], levels[:, low:high, left:right].sum((1, 2)) // ((high - low) * (right - left))
            )
