"""Picture files of somebody else's: nothing is started, nothing outside of the folder is opened, one line each."""

import io
import os
import struct
import zlib

import pytest
from PIL import Image

from tests.trust.watching import observe

NONE = "cannot be decoded (it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP, or damaged); replace or remove it"
IMPORTS = """
import PIL.BmpImagePlugin, PIL.GifImagePlugin, PIL.JpegImagePlugin, PIL.PngImagePlugin, PIL.PpmImagePlugin
import PIL.TiffImagePlugin, PIL.WebPImagePlugin, PIL.ImageOps
from pipeline.datasets.open import open_dataset
"""
ACT = """
    data = open_dataset({"name": "theirs", "dataset": "image_folder", "root": str(path), "size": 8}, path.parent / "cache")
    next(data.batches("train", batch_size=100))
    return list(data.notes)
"""


def png(*chunks):
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def sized_png(width, height, *chunks):
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return png((b"IHDR", head), *chunks, (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))


def tiff(*tags, after=0):
    """A TIFF of tags (number, type, count, value) and the place of its next page, without any strip."""
    rows = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + struct.pack("<I", after)


def sized_tiff(width, height, *tags, after=0):
    basic = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    return tiff(*basic, (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 4), *tags, after=after)


def saved(kind):
    with io.BytesIO() as file:
        Image.new("RGB", (40, 40), (9, 99, 199)).save(file, kind)
        return file.getvalue()


def bmp(width, height):
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


BOMB = zlib.compress(bytes(300_000_000), 9)
CASES = {
    # formats that another program would have to read, or whose text asks for one
    "eps": (lambda secret: saved("EPS"), NONE),
    "postscript": (lambda secret: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%sh) (w) file\n", NONE),
    "pdf": (lambda secret: saved("PDF"), NONE),
    "psd": (lambda secret: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(64), NONE),
    "svg": (
        lambda secret: (
            f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://{secret}">]>'
            f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{secret}"/><text>&x;</text></svg>'
        ).encode(),
        NONE,
    ),
    "mvg": (lambda secret: f"push graphic-context\nimage over 0,0 9,9 '{secret}'\npop graphic-context".encode(), NONE),
    "playlist": (lambda secret: f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile://{secret}\n".encode(), NONE),
    "script": (lambda secret: b"#!/bin/sh\ntouch witness\n", NONE),
    "text": (lambda secret: b"This is no picture.\n", NONE),
    "nothing": (lambda secret: b"", NONE),
    # sizes
    "169-megapixels": (lambda secret: sized_png(13_000, 13_000), "has 169 million pixels, and the most is 89 million"),
    "png-overflow": (lambda secret: sized_png(2**31 - 1, 2**31 - 1), "million pixels, and the most is 89 million"),
    "tiff-overflow": (lambda secret: sized_tiff(2**32 - 1, 2**32 - 1), "million pixels, and the most is 89 million"),
    "bmp-overflow": (lambda secret: bmp(2**31 - 1, 2**31 - 1), "million pixels, and the most is 89 million"),
    "gif-overflow": (
        lambda secret: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",;",
        "cannot be decoded",
    ),
    "ppm-overflow": (lambda secret: b"P6 99999999999999999999 9 255\n", "cannot be decoded"),
    "ppm-long-number": (lambda secret: b"P6 " + b"9" * 10**6 + b" 9 255\n", "cannot be decoded"),
    "text-bomb": (lambda secret: sized_png(9, 9, (b"zTXt", b"Comment\0\0" + BOMB)), "cannot be decoded"),
    "cut-off": (lambda secret: saved("JPEG")[:400], "cannot be decoded"),
}  # fmt: skip


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Each case in a folder of its own, as the only training picture that is not sound; all looked at in one process."""
    place = tmp_path_factory.mktemp("pictures")
    secret = place / "secret.png"
    secret.write_bytes(saved("PNG"))
    folders = {name: place / name for name in (*CASES, *SPECIAL)}
    for name, folder in folders.items():
        for split, kind in ((split, kind) for split in ("train", "val") for kind in "ab"):
            (folder / split / kind).mkdir(parents=True)
            (folder / split / kind / "sound.png").write_bytes(saved("PNG"))
        file = folder / "train" / "a" / "theirs.png"
        if name in CASES:
            file.write_bytes(CASES[name][0](secret))
        else:
            SPECIAL[name][0](file)
    observations = observe(IMPORTS, ACT, list(folders.values()), place)
    return secret, {name: observations[folder] for name, folder in folders.items()}


def _beside(*names):
    return lambda file: [file.with_name(name).write_bytes(saved("EPS")) for name in names]


def _broken(file):
    file.with_name("gone").symlink_to("nowhere")
    file.with_name("round").symlink_to("round")


SPECIAL = {
    "pipe": (os.mkfifo, "is a named pipe, not a file with content; remove it"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "is a device, not a file with content; remove it"),
    "link-to-itself": (lambda file: file.symlink_to(file.name), "cannot be read"),
    "link-to-nothing": (lambda file: file.symlink_to("nowhere"), "a link to a file that is not there"),
    "passwords": (lambda file: file.symlink_to("/etc/passwd"), NONE),
}  # fmt: skip
ACCEPTED = {
    # damaged tags that are not needed for the levels, and pages in a circle
    "tiff-long-tag": (lambda file: file.write_bytes(sized_tiff(9, 9, (65000, 2, 2**32 - 1, 8))), "[]"),
    "tiff-circle": (lambda file: file.write_bytes(sized_tiff(9, 9, after=8)), "[]"),
    "broken-links": (_broken, "'gone', 'round' are links that lead nowhere, and are left out"),
    "circle": (
        lambda file: file.with_name("again").symlink_to("..", target_is_directory=True),
        "are links to a folder",
    ),
    "other-formats": (_beside("x.eps", "x.psd", "x.svg"), "files that end in .eps are left out"),
}
SPECIAL |= ACCEPTED


@pytest.mark.parametrize("name", [*CASES, *SPECIAL])
def test_nothing_is_started_and_nothing_else_is_opened(observed, name):
    secret, observations = observed
    seen = observations[name]
    assert seen.started == ()
    assert str(secret) not in seen.opened
    assert [one for one in seen.opened if one.endswith((".eps", ".psd", ".svg"))] == []


@pytest.mark.parametrize("name", [name for name in (*CASES, *SPECIAL) if name not in ACCEPTED])
def test_it_is_refused_in_one_line_that_names_the_file(observed, name):
    seen = observed[1][name]
    assert seen.kind == "DataError", seen
    assert seen.message.startswith("Data set 'theirs': ")
    assert "train/a/theirs.png: " in seen.message
    assert (CASES | SPECIAL)[name][1] in seen.message
    assert "\n" not in seen.message
    assert len(seen.message) < 400
    assert "root:" not in seen.message.partition("theirs.png: ")[2]  # a line of the file


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_rest_is_read_and_what_is_left_out_is_said(observed, name):
    seen = observed[1][name]
    assert seen.kind is None, seen
    assert ACCEPTED[name][1] in seen.result
