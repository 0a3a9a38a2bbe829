"""Pen strokes fill the picture up to its margin, undistorted and centred, with a pen of the width; jitter has its limits."""

import math

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.stages.augment import strokes as module
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.strokes import StrokeSettings
from components.stages.augment.strokes import draw_file, draw_strokes
from components.stages.views.strokes import decode_strokes, encode_strokes


def settings(**block):
    return parse(StrokeSettings, block, "views.v.strokes")


def ink(strokes, size, **block):
    """What is drawn, 0 to 255 where it is black."""
    drawn = draw_strokes([np.array(stroke) for stroke in strokes], size, settings(**block), np.random.default_rng(0))
    assert (drawn.shape, drawn.dtype) == (size, np.uint8)
    return 255 - drawn.astype(int)


def extent(found):
    """First and last row, first and last column, with ink of half a pixel or more."""
    rows, columns = np.nonzero((found > 127).any(axis=1))[0], np.nonzero((found > 127).any(axis=0))[0]
    return rows[0], rows[-1], columns[0], columns[-1]


@pytest.mark.parametrize("unit", [0.01, 1, 300])
def test_strokes_fill_the_picture_but_for_its_margin_and_are_centred(unit):
    apart = 30 / 11  # 12 pixels
    wide = [[(0, 7 * unit), (10 * unit, 7 * unit)], [(0, (7 + apart) * unit), (10 * unit, (7 + apart) * unit)]]
    found = ink(wide, (40, 60), width=4, margin=0.1)
    assert extent(found) == (12, 27, 6, 53), "44 pixels from end to end, and half a pen around"
    assert found[13:15, 10:50].min() == found[25:27, 10:50].min() == 255
    assert found[17:23].max() == 0
    tall = [[(y, x) for x, y in stroke] for stroke in wide]
    assert extent(ink(tall, (60, 40), width=4, margin=0.1)) == (6, 53, 12, 27)
    assert extent(ink(wide, (60, 40), width=4, margin=0)) == (23, 36, 0, 39)


def test_a_point_is_a_dot_as_wide_as_the_pen_in_the_middle():
    for strokes in ([[(5, 5)]], [[(5, 5), (5, 5)]]):
        found = ink(strokes, (20, 30), width=6)
        assert extent(found) == (7, 12, 12, 17)
        assert found.sum() / 255 == pytest.approx(math.pi * 3**2, rel=0.1)


def test_a_pixel_is_as_dark_as_the_ink_on_it():
    canvas = np.zeros((8, 4), np.uint8)
    canvas[:2], canvas[4:] = 255, 255
    assert module._reduced(canvas).tolist() == [[127], [0]]


@pytest.mark.parametrize("jitter", [1.0, 0.5])
def test_jitter_reaches_its_limits_and_goes_no_further(jitter):
    """The figures that the setting names: 8 degrees, 0.2 to the right for one upwards, 15 %, 4 % and 40 %."""
    shapes = [np.array([(0.0, 10.0), (0.0, 0.0), (10.0, 0.0)]), np.array([(5.0, 20.0)])]  # 20 is the longer side
    found = []
    for seed in range(400):
        (corner, dot), pen = module._jittered(shapes, settings(jitter=jitter, width=2.0), np.random.default_rng(seed))
        right, down = (corner[2] - corner[1]) / 10, (corner[0] - corner[1]) / 10
        angle, length = math.atan2(right[1], right[0]), np.hypot(*right)
        along, across = down @ right / length, (right[0] * down[1] - right[1] * down[0]) / length  # of a unit downwards
        assert across == pytest.approx(1), "no stroke grows taller"
        between = np.linalg.solve(np.array([right, down]).T, dot[0] - corner[1]) - (5, 20)
        found.append((math.degrees(angle), along, length - 1, *(between / 20 / 2), pen / 2 - 1))
    assert abs(np.corrcoef(np.array(found)[:, 3:5].T)[0, 1]) < 0.2, "across and down are shifted by draws of their own"
    limits = jitter * np.array([8, 0.2, 0.15, 0.04, 0.04, 0.4])
    for reached in (np.max(found, axis=0), -np.min(found, axis=0)):
        assert (reached <= limits + 1e-9).all()
        assert (reached > [0.95, 0.95, 0.95, 0.8, 0.8, 0.95] * limits).all()


@pytest.mark.parametrize(
    ("least", "most", "refused"),
    [
        ({"seed": 0}, {"seed": 2**31 - 1}, [{"seed": -1}, {"seed": 2**31}]),
        ({"width": 0.01}, {"width": 64}, [{"width": 0}, {"width": 64.5}]),
        ({"jitter": 0}, {"jitter": 1}, [{"jitter": -0.1}, {"jitter": 1.1}]),
        ({"margin": 0}, {"margin": 0.49}, [{"margin": -0.1}, {"margin": 0.5}]),
    ],
)
def test_settings_of_strokes_have_limits(least, most, refused):
    assert settings(**least).model_dump() == StrokeSettings().model_dump() | least
    assert settings(**most).model_dump() == StrokeSettings().model_dump() | most
    for block in refused:
        with pytest.raises(SettingsError, match=rf"views\.v\.strokes\.{next(iter(block))}"):
            settings(**block)


def test_a_coloured_view_has_the_same_drawing_in_every_channel():
    block = {"dataset": "d", "image_size": [10, 16], "strokes": {"jitter": 0.5}}
    data = encode_strokes((np.array([(0, 0), (9, 5)]), np.array([(3, 4)])))
    grey, colour = (draw_file(data, parse(ViewSettings, block | {"channels": channels}, "views.v")) for channels in (1, 3))
    assert (grey.shape, grey.min(), grey.max()) == ((10, 16, 1), 0, 255)
    np.testing.assert_array_equal(colour, np.concatenate([grey] * 3, axis=2))


def test_a_file_of_many_strokes_comes_back_and_a_broken_one_is_refused():
    """More strokes than a byte counts; coordinates of 16 bits."""
    strokes = tuple(np.array([(i - 300, -i)] * (1 + i % 3)) for i in range(600))
    data = encode_strokes(strokes)
    assert all(np.array_equal(found, stroke) for found, stroke in zip(decode_strokes(data), strokes, strict=True))
    limits = (np.array([(-(2**15), 2**15 - 1)]),)
    assert np.array_equal(decode_strokes(encode_strokes(limits))[0], limits[0])
    empty = encode_strokes((np.zeros((1, 2)), np.zeros((0, 2))))
    for broken in (data[:-4], data + bytes(4), empty, b"", data[:8], data[:9], data[:40], b"PNG" + data):
        with pytest.raises(ValueError, match="the file of pen strokes is broken"):
            decode_strokes(broken)
