"""Every kind of picture ends as the uint8 square that one would draw of it."""

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import SettingsError
from components.stages.augment.decode import decode, decode_file
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.raw.annotations import Annotations, RawBoxes
from components.stages.augment.raw.binary import read_cifar10, read_idx
from components.stages.augment.raw.layouts import RawSplit
from components.stages.augment.table import Table, choose_columns, decode_all


def settings(size=16, channels=3, fit="crop", pad_value=0):
    return ViewSettings(dataset="d", image_size=size, channels=channels, fit=fit, pad_value=pad_value)


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_exif_orientation_is_applied():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    decoded = decode_file(file_of(Image.fromarray(pixels), exif=exif), settings())
    np.testing.assert_array_equal(decoded, pixels[::-1])


def test_sixteen_bit_grey_is_scaled_not_clipped():
    pixels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    decoded = decode_file(file_of(Image.fromarray(pixels)), settings(channels=1))
    np.testing.assert_array_equal(decoded[..., 0], np.rint(pixels / 257.0))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_keeps_dark_left_and_bright_right(mode):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    data = file_of(Image.fromarray(pixels).convert(mode), "TIFF" if mode == "CMYK" else "PNG")
    for channels in (1, 3):
        decoded = decode_file(data, settings(channels=channels))
        np.testing.assert_array_equal(decoded, pixels[..., :channels])


def test_fit_crops_pads_or_stretches():
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, :8] = 255  # the left quarter is outside the centre square
    image = Image.fromarray(pixels)
    assert decode(np.asarray(image), settings(channels=1, fit="crop"))[0].max() == 0
    stretched = decode(pixels, settings(channels=1, fit="stretch"))[0][..., 0]
    assert stretched[:, :3].min() > 200
    assert stretched[:, 6:].max() < 50
    padded = decode(pixels, settings(channels=1, fit="pad", pad_value=77))[0][..., 0]
    assert set(np.unique(padded[:4])) == {77} == set(np.unique(padded[12:]))
    assert padded[4:12, :3].min() > 200


def test_shrinking_is_antialiased_and_the_same_size_is_exact():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255  # nearest would give all black or all white
    assert np.abs(decode(stripes, settings(channels=1))[0].astype(int) - 127)[:, 2:-2].max() < 5
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_file(file_of(Image.fromarray(noise)), settings()), noise)


@pytest.mark.parametrize("data", [b"", b"not an image", file_of(Image.fromarray(np.full((64, 64), 9, np.uint8)))[:-60]])
def test_an_unreadable_file_is_a_value_error(data):
    with pytest.raises(ValueError):
        decode_file(data, settings())


def test_a_decompression_bomb_is_an_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.raises(ValueError, match="decompression bomb"):
        decode_file(file_of(Image.new("L", (16, 16))), settings())


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_is_read_plain_and_zipped_and_its_length_is_checked(tmp_path):
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    for name, data in {"plain": idx_bytes(array), "zipped": gzip.compress(idx_bytes(array))}.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_idx(tmp_path / name, 3), array)
    faults = {
        "short": (idx_bytes(array)[:-1], "23 bytes of data"),
        "header": (b"\x00\x00\x0d\x03" + idx_bytes(array)[4:], "not with the header"),
        "cut": (gzip.compress(idx_bytes(array))[:-9], "broken gzip"),
    }
    for name, (data, message) in faults.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            read_idx(tmp_path / name, 3)


def test_a_cifar_file_of_a_broken_length_is_refused(tmp_path):
    (tmp_path / "batch.bin").write_bytes(bytes(3073 * 2 - 1))
    with pytest.raises(ValueError, match=r"batch\.bin: 6145 bytes"):
        read_cifar10(tmp_path / "batch.bin")
    (tmp_path / "batch.bin").write_bytes(bytes(3073 * 2))
    assert not read_cifar10(tmp_path / "batch.bin").flags.writeable, "DVC's links may be read-only"


def test_an_array_of_the_view_s_size_still_gets_the_view_s_channels():
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    colour = np.stack([grey] * 3, axis=2)
    for given in (grey, grey[:, :, None], colour):
        for channels in (1, 3):
            np.testing.assert_array_equal(decode(given, settings(channels=channels))[0], colour[..., :channels])


def test_boxes_and_numbers_stay_with_their_pictures_when_one_before_cannot_be_read(tmp_path):
    files = [file_of(Image.fromarray(np.full((16, 16), 50 * i, np.uint8))) for i in range(4)]
    files[1] = b"broken"
    rows, labels = np.array([0, 1, 2, 2, 3]), np.arange(5)
    boxes = RawBoxes(np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (5, 1)), labels, rows)
    parts = {}
    for split, part in (("train", slice(0, 3)), ("test", slice(3, 4))):
        kept = (rows >= part.start) & (rows < part.stop)
        own = RawBoxes(boxes.boxes[kept], labels[kept], rows[kept] - part.start)
        names = [f"{split}/{i}.png" for i in range(part.start, part.stop)]
        pictures = files[part]
        parts[split] = RawSplit(len(names), {}, Annotations(boxes=own), names.__getitem__, pictures.__iter__)
    view = {"dataset": "d", "image_size": 16, "channels": 1, "unreadable": "skip"}
    table = decode_all(parts, ViewSettings(**view), tmp_path / "scratch")
    assert table.unreadable == ["train/1.png"]
    assert {split: found.tolist() for split, found in table.published.items()} == {"train": [0, 2], "test": [3]}
    assert table.images[[0, 2, 3], 0, 0, 0].tolist() == [0, 100, 150]
    found = [label[mask].tolist() for label, mask in zip(table.arrays["box_label"], table.arrays["box_mask"], strict=True)]
    assert found == [[0], [], [2, 3], [4]]
    assert table.sizes.tolist() == [[16, 16], [0, 0], [16, 16], [16, 16]]


def test_captions_boxes_or_several_classes_do_without_a_label_but_bare_pictures_do_not():
    view = ViewSettings(dataset="d", image_size=16, channels=1)
    image = {"image": np.zeros((2, 16, 16, 1), np.uint8)}
    rest = {"names": ["a", "b"], "digests": [], "contents": [], "sizes": np.zeros((2, 2)), "published": {}, "unreadable": []}
    for arrays, labels, texts in (
        ({"boxes": np.zeros((2, 1, 4))}, None, None),
        ({}, np.zeros((2, 3)), None),
        ({}, None, ["", ""]),
    ):
        table = Table(image | arrays, {}, labels, texts, **rest)
        assert choose_columns(table, {}, view, "views.v")[1] == {}
    with pytest.raises(SettingsError, match=r"views\.v\.label: 'label' is not allowed"):
        choose_columns(Table(image, {}, None, None, **rest), {}, view, "views.v")
