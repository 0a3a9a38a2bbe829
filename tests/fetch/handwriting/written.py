"""Write the published formats of handwriting, for round trips: the tests' own reading of methods and specifications."""

import struct

import numpy as np


def gb(character):
    return character.encode("gb18030")


def gnt(*samples):
    """(code, uint8 [h, w]) ... -> a .gnt file."""
    return b"".join(
        struct.pack("<I2sHH", 10 + pixels.size, code.ljust(2, b"\0"), pixels.shape[1], pixels.shape[0]) + pixels.tobytes()
        for code, pixels in samples
    )


def pot(*samples):
    """(code, [stroke of (x, y) ...]) ... -> a .pot file."""
    records = b""
    for code, strokes in samples:
        points = b"".join(struct.pack("<hh", *point) for stroke in strokes for point in [*stroke, (-1, 0)])
        points += struct.pack("<hh", -1, -1)
        tag = code[::-1].ljust(4, b"\0") if len(code) == 2 else (b"\0\0" + code.ljust(2, b"\0"))[::-1]
        records += struct.pack("<H4sH", 8 + len(points), tag, len(strokes)) + points
    return records


def header(form, illustration=b"#\0"):
    size = 36 + len(illustration)
    return struct.pack("<i", size) + form.ljust(8, b"\0") + illustration + b"GB".ljust(20, b"\0") + struct.pack("<hh", 2, 8)


def dgrl(size, *lines):
    """(height, width) of the page; (text, top, left, uint8 [h, w]) ... -> a .dgrl file."""
    data = header(b"DGRL") + struct.pack("<iii", *size, len(lines))
    for text, top, left, pixels in lines:
        codes = b"".join(gb(character).ljust(2, b"\0") for character in text)
        data += struct.pack("<i", len(text)) + codes + struct.pack("<iiii", top, left, *pixels.shape) + pixels.tobytes()
    return data


def hcl(pictures):
    """bool [3755, 64, 64] of ink -> a .hcl file."""
    return bytes(512) + np.packbits(pictures.reshape(len(pictures), -1), axis=1).tobytes()


def or3c_labels(*codes):
    return struct.pack("<hb", len(codes), 2) + b"".join(code.ljust(2, b"\0") for code in codes)


def or3c_images(pictures):
    """uint8 [n, h, w]."""
    return struct.pack("<IBB", len(pictures), *pictures.shape[1:]) + pictures.tobytes()


def or3c_vectors(*characters):
    """[stroke of (x, y) ...] ..."""
    parts = [
        bytes([len(strokes), *map(len, strokes)]) + bytes(value for stroke in strokes for point in stroke for value in point)
        for strokes in characters
    ]
    return struct.pack(f"<i{len(parts)}h", len(parts), *map(len, parts)) + b"".join(parts)
