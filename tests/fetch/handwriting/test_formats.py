"""Each format reads the bytes of the published examples, and what the tests' own writers write; broken files end plainly."""

import io
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
from fetch.handwriting.written import dgrl, gb, gnt, hcl, header, or3c_images, or3c_labels, or3c_vectors, pot
from PIL import Image

from components.stages.fetch.handwriting.codes import decode, level_1
from components.stages.fetch.handwriting.formats import read_file
from components.stages.fetch.handwriting.reading import Parts, Place
from components.stages.views.strokes import decode_strokes

RNG = np.random.default_rng(0)
STROKES = [[(10, 20), (30, 20)], [(5, 5)]]


def read(folder, name, data, unit="line", **beside):
    """The samples of a file: [(codes, pixels or strokes)]."""
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for file, content in {name: data, **beside}.items():
        (folder / file).write_bytes(content)
        places.append(Place(folder / file, file))
    samples = []
    for sample in read_file(places[0], places, Parts(), unit):
        content = sample.content.read()
        pixels = sample.suffix == ".pgm"
        samples.append((sample.codes, np.asarray(Image.open(io.BytesIO(content))) if pixels else decode_strokes(content)))
    return samples


def pairs(strokes):
    return [stroke.tolist() for stroke in strokes]


def test_gnt_example(tmp_path):
    ((codes, pixels),) = read(tmp_path, "1.gnt", bytes.fromhex("0e000000b0a102000200ff0080ff"))
    assert [decode(code) for code in codes] == ["啊"]
    assert pixels.tolist() == [[255, 0], [128, 255]]


def test_pot_example_and_a_stroke_of_one_point(tmp_path):
    ((codes, strokes),) = read(tmp_path, "1.pot", bytes.fromhex("1800bbd2000001000a0014001e001400ffff0000ffffffff"))
    assert ([decode(code) for code in codes], pairs(strokes)) == (["一"], [[[10, 20], [30, 20]]])
    symbol, both = read(tmp_path, "2.pot", pot((b"!", [[(1, 2)]]), (gb("一"), STROKES)))
    assert symbol[0] == (bytes.fromhex("00002100"),)
    assert decode(symbol[0][0]) == "!"
    assert pairs(both[1]) == [[list(point) for point in stroke] for stroke in STROKES]


def test_dgrl_example_as_lines_and_as_a_page(tmp_path):
    data = "260000004447524c000000002300" + (b"GB" + bytes(18)).hex()
    data += "0200080004000000060000000100000001000000b0a101000000020000000100000003000000ff00ff"
    ((codes, pixels),) = read(tmp_path, "1.dgrl", bytes.fromhex(data))
    assert (decode(codes[0]), pixels.tolist()) == ("啊", [[255, 0, 255]])
    ((_, page),) = read(tmp_path, "1.dgrl", bytes.fromhex(data), unit="page")
    expected = np.full((4, 6), 255)
    expected[1, 3] = 0
    np.testing.assert_array_equal(page, expected)


def test_hcl2000_example_and_order(tmp_path):
    pictures = np.zeros((3755, 64, 64), bool)
    pictures[0, 0, [0, 63]] = True
    pictures[3754, 63, 63] = True
    data = hcl(pictures)
    assert (len(data), data[512:520].hex()) == (1_923_072, "8000000000000001")
    for broken in (data[:-1], data + b"x"):
        with pytest.raises(
            ValueError, match=r"hh001\.hcl: (record 3755 \(byte 1,922,560\): breaks off|header: 1,923,073 bytes)"
        ):
            read(tmp_path, "hh001.hcl", broken)
    samples = read(tmp_path, "hh001.hcl", data)
    assert [decode(samples[index][0][0]) for index in (0, 3754)] == ["啊", "座"]
    assert np.argwhere(samples[0][1] == 0).tolist() == [[0, 0], [0, 63]]
    assert np.argwhere(samples[3754][1] == 0).tolist() == [[63, 63]]


def test_hit_or3c_labels_have_a_header_of_three_bytes(tmp_path):
    assert or3c_labels(*[b"0"] * 6825)[:5].hex() == "a91a023000"
    pictures = RNG.integers(0, 256, (3, 5, 4), dtype=np.uint8)
    labels = or3c_labels(b"0", b"A", gb("啊"))
    samples = read(tmp_path, "7_images", or3c_images(pictures), **{"7_labels": labels})
    assert [decode(codes[0]) for codes, _ in samples] == ["0", "A", "啊"]
    np.testing.assert_array_equal([pixels for _, pixels in samples], pictures)
    many = [[(index % 100, 1)] for index in range(130)]  # more strokes than a signed byte holds
    vectors = read(tmp_path, "7_vectors", or3c_vectors(STROKES, many), labels=or3c_labels(b"0", gb("啊")))
    assert [pairs(strokes) for _, strokes in vectors] == [[[list(p) for p in s] for s in each] for each in (STROKES, many)]


def test_touching_characters_and_couch_are_refused_with_the_reason(tmp_path):
    with pytest.raises(
        ValueError, match=r"1\.tcs: CASIA-HWDB-T, touching characters \(codes GB of 2 bytes, #\): .*specification"
    ):
        read(tmp_path, "1.tcs", header(b"tcs") + bytes(20))


def test_codes_are_those_of_gb_18030():
    assert [decode(code) for code in (b"!\0", b"\0\0!\0", b"\xa1\xa4", b"\xa1\xaa", b"\xd2\xbb\0\0")] == [
        "!",
        "!",
        "·",
        "—",
        "一",
    ]
    assert [decode(code) for code in (b"\xff\xff", b"\0\0", b"ab", b"\xaa\xa1", b"\n\0", b"\xb0")] == [None] * 6
    codes = list(level_1())
    assert (len(codes), codes[0].hex(), codes[-1].hex()) == (3755, "b0a1", "d7f9")
    assert len({code.decode("gb2312") for code in codes}) == 3755


FILES = {
    "1.gnt": gnt((gb("啊"), RNG.integers(0, 256, (3, 4), dtype=np.uint8)), (b"!", np.zeros((2, 2), np.uint8))),
    "1.pot": pot((gb("一"), STROKES), (b"!", [[(1, 2), (3, 4)]])),
    "1.dgrl": dgrl((9, 9), ("啊一", 0, 1, np.zeros((2, 5), np.uint8)), ("!", 4, 0, np.zeros((3, 2), np.uint8))),
    "1_images": or3c_images(np.zeros((2, 3, 3), np.uint8)),
    "1_vectors": or3c_vectors(STROKES, [[(1, 2)]]),
    "1.tcs": header(b"tcs") + bytes(20),
}
BESIDE = {"labels": or3c_labels(gb("啊"), b"0")}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_and_random_flips_end_in_a_clear_error_or_a_reading(name, packed):
    """A file that breaks off is an error unless it ends between two records; a flipped byte never gives another exception."""
    data = FILES[name]
    rng = np.random.default_rng(1)
    faults = 0
    whole = None if name == "1.tcs" else read_all(name, data, packed=packed)
    for length in range(len(data)):
        message, samples = outcome(name, data[:length], packed=packed)
        assert message.startswith("d.zip/" + name if packed else name) or samples == whole[: len(samples)]
        faults += bool(message)
    # .gnt and .pot are records without a frame: an end between two of them, and an empty file, cannot be told from a whole one.
    assert faults == len(data) - (2 if name in ("1.gnt", "1.pot") else 0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        outcome(name, bytes(damaged), packed=packed)


def outcome(name, data, *, packed):
    """(message of the error or "", samples)."""
    try:
        return "", read_all(name, data, packed=packed)
    except ValueError as error:
        return str(error), []


def read_all(name, data, *, packed):
    """[(codes, bytes of the content)], from a file or from a member of a zip archive."""
    places = [InMemory(file, content, packed) for file, content in {name: data, **BESIDE}.items()]
    return [(sample.codes, sample.content.read()) for sample in read_file(places[0], places, Parts(), "line")]


@dataclass(frozen=True)
class InMemory(Place):
    """A file, or a member of an archive, without a disk."""

    def __init__(self, file, content, packed):
        data = io.BytesIO(content)
        if packed:
            data = io.BytesIO()
            with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(file, content)
        super().__init__(data, f"d.zip/{file}" if packed else file, file if packed else None)

    def open(self):
        self.path.seek(0)
        return super().open() if self.member else io.BytesIO(self.path.getvalue())

    @property
    def length(self):
        return super().length if self.member else len(self.path.getvalue())


def test_damaged_archives_and_impossible_sizes_need_no_memory(tmp_path):
    with pytest.raises(ValueError, match=r"1\.gnt: record 1 \(byte 0\): .*claimed"):
        read(tmp_path, "1.gnt", b"\xff\xff\xff\xff\xb0\xa1\xff\xff\xff\xff")
    with pytest.raises(ValueError, match=r"1\.dgrl: header: a page of .* is not possible"):
        read(tmp_path, "1.dgrl", dgrl((2**30, 2**30)))
    with pytest.raises(ValueError, match=r"1\.dgrl: record 1 \(byte 50\): .* not possible"):
        read(tmp_path, "1.dgrl", dgrl((9, 9))[:-4] + b"\1\0\0\0" + b"\xff\xff\xff\x7f")
    place = InMemory("1.gnt", FILES["1.gnt"] * 50, True)
    place.path.seek(60)  # inside the compressed bytes
    place.path.write(b"\xff\xff")
    with pytest.raises(ValueError, match=r"d\.zip/1\.gnt"):
        [sample.content.read() for sample in read_file(place, [place], Parts(), "line")]
