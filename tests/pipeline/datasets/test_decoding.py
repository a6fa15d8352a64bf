"""Every kind of picture file, against levels computed by hand with NumPy."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.api import DataError
from pipeline.datasets.readers.decoding import Decoder
from pipeline.datasets.readers.geometry import Geometry
from pipeline.datasets.readers.image_arrays import Form
from pipeline.datasets.readers.image_files import PictureReader

GREY = np.array([[0, 1, 127], [128, 200, 255]], np.uint8)
DEEP = np.array([[0, 257, 4095], [4096, 40000, 65535]], np.uint16)
COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 60, 30]]], np.uint8)
UNSIGNED, SIGNED, FLOATING = 1, 2, 3


def content(picture, ending, **options):
    with io.BytesIO() as file:
        picture.save(file, ending, **options)
        return file.getvalue()


def tiff(levels, *, sample_format=UNSIGNED, photometric=1, order="<", bits=None, data=None):
    """A TIFF of one strip of grey levels, written by hand."""
    height, width = levels.shape
    data = levels.astype(levels.dtype.newbyteorder(order)).tobytes() if data is None else data
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, bits or levels.itemsize * 8), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, sample_format),
    ]  # fmt: skip
    data += b"\0" * (len(data) % 2)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    rows = b"".join(
        struct.pack(f"{order}HHI" + ("I" if kind == 4 else "Hxx"), number, kind, 1, value)
        for number, kind, value in tags
    )
    return head + data + struct.pack(f"{order}H", len(tags)) + rows + b"\0" * 4


def decoded(source, *, channels=1, **settings):
    return np.asarray(Decoder(**settings).decode(source, "some.png", channels=channels))


def refused(source, *parts, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as caught:
            decoded(source, **settings)
    message = str(caught.value)
    assert message.startswith("some.png: " if isinstance(source, bytes) else str(source))
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize("ending", ["PNG", "TIFF", "PPM", "BMP", "GIF"])
def test_grey_of_8_bits_is_as_stored(ending):
    assert np.array_equal(decoded(content(Image.fromarray(GREY), ending)), GREY)
    assert np.array_equal(decoded(content(Image.fromarray(GREY), ending), channels=3), GREY[..., None].repeat(3, 2))


@pytest.mark.parametrize("ending", ["PNG", "TIFF", "PPM", "BMP", "WEBP"])
def test_colour_is_as_stored_and_becomes_grey_by_luma(ending):
    source = content(Image.fromarray(COLOUR), ending, **({"lossless": True} if ending == "WEBP" else {}))
    assert np.array_equal(decoded(source, channels=3), COLOUR)
    assert np.allclose(decoded(source), COLOUR @ [0.299, 0.587, 0.114], atol=1)


def test_16_bits_are_scaled_by_their_full_range_without_rounding():
    pgm = b"P5 3 2 65535\n" + DEEP.astype(">u2").tobytes()
    for source in (content(Image.fromarray(DEEP), "PNG"), tiff(DEEP), tiff(DEEP, order=">"), pgm):
        assert np.allclose(decoded(source), DEEP / 65535 * 255, atol=1e-4)


def test_the_range_that_a_file_states_is_its_own():
    levels = np.array([[0, 1000, 4095]])
    assert np.allclose(decoded(b"P5 3 1 4095\n" + levels.astype(">u2").tobytes()), levels / 4095 * 255, atol=0.01)
    packed = bytes([0x12, 0x3F, 0xFF])  # 0x123 and 0xFFF
    source = tiff(np.zeros((1, 2), np.uint16), bits=12, data=packed)
    assert np.allclose(decoded(source), [[0x123 / 4095 * 255, 255]], atol=1e-4)


def test_levels_of_fewer_bits_than_the_file_has_are_scaled_if_the_entry_says_so():
    levels = np.minimum(DEEP, 4095)
    assert np.allclose(decoded(content(Image.fromarray(levels), "PNG"), bits=12), levels / 4095 * 255, atol=1e-4)
    refused(content(Image.fromarray(DEEP), "PNG"), "levels from 0 to 65535, but the brightest is to be 4095", bits=12)


def test_white_is_zero_in_deep_pictures_too():
    assert np.allclose(decoded(tiff(DEEP, photometric=0)), (1 - DEEP / 65535) * 255, atol=1e-4)
    assert np.array_equal(decoded(tiff(GREY, photometric=0)), 255 - GREY)


@pytest.mark.parametrize("levels", [DEEP.astype(np.int32), DEEP.astype(np.uint32), (DEEP // 2).astype(np.int16)])
def test_levels_without_a_range_are_refused_unless_the_entry_says_it(levels):
    source = tiff(levels, sample_format=SIGNED if levels.dtype.kind == "i" else UNSIGNED)
    refused(source, "no range is agreed on; save it with 8 or 16 bits, or set `bits`")
    assert np.allclose(decoded(source, bits=16), levels / 65535 * 255, atol=1e-4)


def test_negative_levels_are_refused():
    refused(tiff(np.array([[-1, 5]], np.int16), sample_format=SIGNED), "levels from -1 to 5", bits=12)
    refused(tiff(np.array([[-1, 5]], np.int8), sample_format=SIGNED), "signed levels")


def test_floating_point_is_0_to_1():
    shares = np.array([[0, 0.25, 1]], np.float32)
    assert np.allclose(decoded(tiff(shares, sample_format=FLOATING)), shares * 255, atol=1e-4)
    for odd in (np.float32([[0, 255]]), np.float32([[-0.1, 1]]), np.float32([[0, np.nan]]), np.float32([[0, np.inf]])):
        refused(tiff(odd, sample_format=FLOATING), "floating-point pictures must hold 0 to 1")


def test_a_colour_picture_of_16_bits_is_read_by_its_upper_8_and_takes_no_other_range():
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in COLOUR.astype(np.uint16) * 257)
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    source = png((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    assert np.array_equal(decoded(source, channels=3), COLOUR)
    refused(source, "`bits: 12` cannot hold", bits=12)


def colour_tiff(levels, *, order="<", deflated=False, planar=False, photometric=2):
    """A TIFF of 16 bits for each colour, its strips after its tags, written by hand."""
    height, width, count = levels.shape
    stored = levels.astype(np.dtype(np.uint16).newbyteorder(order))
    parts = [stored[..., channel] for channel in range(count)] if planar else [stored]
    strips = [zlib.compress(part.tobytes()) if deflated else part.tobytes() for part in parts]
    tags = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [16] * count), 259: (3, [8 if deflated else 1]),
        262: (3, [photometric]), 273: (4, strips), 277: (3, [count]), 278: (4, [height]),
        279: (4, [len(strip) for strip in strips]), 284: (3, [2 if planar else 1]),
    }  # fmt: skip
    place = 8 + 2 + 12 * len(tags) + 4
    offsets, values = [], b""
    for strip in strips:
        offsets.append(place + len(values))
        values += strip + b"\0" * (len(strip) % 2)
    tags[273] = (4, offsets)
    rows = b""
    for number, (kind, numbers) in tags.items():
        packed = struct.pack(f"{order}{len(numbers)}{'I' if kind == 4 else 'H'}", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack(f"{order}I", place + len(values)), values + packed
        rows += struct.pack(f"{order}HHI", number, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(tags)) + rows + b"\0" * 4 + values


@pytest.mark.parametrize(("deflated", "planar"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_colour_tiff_of_16_bits_is_read_by_its_upper_8_however_it_is_packed(deflated, planar, order):
    levels = COLOUR.astype(np.uint16) * 256 + np.array([3, 16, 250], np.uint16)
    source = colour_tiff(levels, order=order, deflated=deflated, planar=planar)
    assert np.array_equal(decoded(source, channels=3), COLOUR)
    assert np.array_equal(decoded(source, channels=3, bits=16), COLOUR)
    refused(source, "a colour picture of 16 bits is read by its upper 8", "`bits: 12` cannot hold", bits=12)


@pytest.mark.parametrize("order", ["<", ">"])
def test_uncompressed_planes_of_16_bits_are_refused(order):
    source = colour_tiff(COLOUR.astype(np.uint16) * 257, order=order, planar=True)
    refused(source, "holds uncompressed planes of 16 bits", "save it compressed")


@pytest.mark.parametrize("ending", ["BMP", "PNG", "TIFF", "PPM", "GIF"])
@pytest.mark.parametrize("side", [16, 160, 216])
def test_pictures_of_8_bits_whose_sides_hold_a_16_take_any_bits(ending, side):
    levels = np.arange(side * 16, dtype=np.uint32).reshape(16, side).astype(np.uint8)
    assert np.array_equal(decoded(content(Image.fromarray(levels), ending), bits=12), levels)
    if ending != "GIF":
        colour = np.dstack([levels, levels.T.reshape(16, side), levels[::-1]])
        assert np.array_equal(decoded(content(Image.fromarray(colour), ending), channels=3, bits=12), colour)


def png(*chunks):
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_palettes_and_one_bit_are_their_colours():
    numbers = np.array([[0, 1], [2, 3]], np.uint8)
    picture = Image.frombytes("P", (2, 2), numbers.tobytes())
    picture.putpalette(COLOUR.reshape(-1).tolist())
    assert np.array_equal(decoded(content(picture, "PNG"), channels=3), COLOUR)
    seen = COLOUR.copy()
    seen[0, 1] = 255  # number 1 is transparent: white shows
    assert np.array_equal(decoded(content(picture, "PNG", transparency=1), channels=3), seen)
    half = decoded(content(picture, "PNG", transparency=bytes([255, 128, 255, 255])), channels=3, background="black")
    assert np.allclose(half[0, 1], [0, 128, 0], atol=1)
    bits = Image.fromarray(GREY > 127)
    for ending in ("PNG", "TIFF", "PPM", "BMP"):
        assert np.array_equal(decoded(content(bits, ending)), (GREY > 127) * 255)


@pytest.mark.parametrize(("background", "ground"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("ending", ["PNG", "TIFF", "WEBP"])
def test_transparency_lies_on_the_background(ending, background, ground):
    alpha = np.array([[255, 0], [128, 64]], np.uint8)
    source = content(
        Image.fromarray(np.dstack([COLOUR, alpha])),
        ending,
        **({"lossless": True, "exact": True} if ending == "WEBP" else {}),
    )
    share = alpha[..., None] / 255
    assert np.allclose(
        decoded(source, channels=3, background=background), COLOUR * share + ground * (1 - share), atol=1
    )
    if ending != "WEBP":
        grey = Image.merge("LA", [Image.fromarray(COLOUR[..., 0].copy()), Image.fromarray(alpha)])
        right = COLOUR[..., 0] * share[..., 0] + ground * (1 - share[..., 0])
        assert np.allclose(decoded(content(grey, ending), background=background), right, atol=1)


def test_a_transparent_level_of_16_bits_is_the_background():
    picture = content(Image.fromarray(DEEP), "PNG")
    end = picture.index(b"IDAT") - 4
    chunk = png((b"tRNS", struct.pack(">H", 40000)))[8:]
    right = DEEP / 65535 * 255
    right[1, 1] = 255
    assert np.allclose(decoded(picture[:end] + chunk + picture[end:]), right, atol=1e-4)


def test_cmyk_and_ycbcr_are_colours():
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0]], [[0, 128, 255, 0], [10, 20, 30, 100]]], np.uint8)
    right = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    assert np.allclose(decoded(content(Image.fromarray(inks, "CMYK"), "TIFF"), channels=3), right, atol=1)
    flat = np.full((16, 16, 4), (10, 200, 30, 60), np.uint8)
    jpeg = decoded(content(Image.fromarray(flat, "CMYK"), "JPEG", quality=100), channels=3)
    assert np.allclose(jpeg, (255.0 - flat[..., :3]) * (255.0 - flat[..., 3:]) / 255, atol=3)
    luma = np.array([[[128, 128, 128], [76, 85, 255]]], np.uint8)  # grey, red
    source = content(Image.fromarray(luma, "YCbCr"), "TIFF")
    assert np.allclose(decoded(source, channels=3), [[[128, 128, 128], [255, 0, 0]]], atol=2)


def test_lab_is_the_colour_that_the_cie_says():
    lightness, a, b = 60.0, 30.0, -20.0
    stored = [Image.new("L", (2, 2), level) for level in (round(lightness * 2.55), 30 + 128, -20 + 128)]
    source = content(Image.merge("LAB", stored), "TIFF")
    y = (lightness + 16) / 116
    ratios = np.array([y + a / 500, y, y - b / 200])
    ratios = np.where(ratios > 6 / 29, ratios**3, 3 * (6 / 29) ** 2 * (ratios - 4 / 29))
    xyz = ratios * [0.9642, 1.0, 0.8251]  # D50
    to_linear = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.array(to_linear) @ xyz
    right = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.allclose(decoded(source, channels=3)[0, 0], right, atol=3)


UPRIGHT = np.array([[0, 60, 120], [180, 240, 30]], np.uint8).repeat(16, 0).repeat(16, 1)
STORED = {  # EXIF: where the first row and the first column of what is stored lie when people look at it
    1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1], 5: UPRIGHT.T,
    6: np.rot90(UPRIGHT), 7: UPRIGHT[::-1, ::-1].T, 8: np.rot90(UPRIGHT, -1),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_picture_is_seen_upright(orientation, ending):
    notes = Image.Exif()
    notes[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(ending, {})
    source = content(Image.fromarray(np.ascontiguousarray(STORED[orientation])), ending, exif=notes, **options)
    assert np.allclose(decoded(source), UPRIGHT, atol=6)


def test_a_deep_picture_is_turned_too():
    notes = Image.Exif()
    notes[0x0112] = 6
    source = content(Image.fromarray(np.ascontiguousarray(np.rot90(DEEP))), "PNG", exif=notes)
    assert np.allclose(decoded(source), DEEP / 65535 * 255, atol=1e-4)


@pytest.mark.parametrize("notes", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
def test_notes_of_a_camera_that_cannot_be_read_turn_nothing(notes):
    assert np.array_equal(decoded(content(Image.fromarray(GREY), "PNG", exif=notes)), GREY)


@pytest.mark.parametrize("ending", ["GIF", "PNG", "WEBP"])
def test_of_several_frames_the_first_is_taken(ending):
    frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (40, 200)]
    source = content(
        frames[0], ending, save_all=True, append_images=frames[1:], **({"lossless": True} if ending == "WEBP" else {})
    )
    assert np.allclose(decoded(source), 40, atol=1)


def test_several_pages_are_refused_and_a_thumbnail_is_none():
    page, other = Image.fromarray(UPRIGHT), Image.fromarray(UPRIGHT[::2, ::2].copy())
    refused(
        content(page, "TIFF", save_all=True, append_images=[other, other]),
        "holds 3 pages",
        "save the page that is meant",
    )
    other.encoderinfo = {"tiffinfo": {254: 1}}
    assert np.array_equal(decoded(content(page, "TIFF", save_all=True, append_images=[other])), UPRIGHT)


@pytest.mark.parametrize("ending", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"])
def test_a_file_that_is_cut_off_is_refused(ending):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = content(Image.fromarray(noise), ending)
    decoded(whole)
    refused(whole[: len(whole) // 2], "cannot be decoded (", "replace or remove it")
    refused(b"", "cannot be decoded (it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP, or damaged)")


@pytest.mark.parametrize("ending", ["EPS", "PDF", "PCX", "ICO", "TGA", "SGI", "IM", "JPEG2000"])
def test_only_formats_of_the_list_are_opened(ending):
    refused(content(Image.fromarray(COLOUR), ending), "it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP")


@pytest.mark.parametrize(("width", "millions"), [(9_500, 90), (13_000, 169), (60_000, 3600)])
def test_a_picture_too_large_for_the_memory_is_refused_by_its_head(width, millions):
    head = struct.pack(">IIBBBBB", width, width, 1, 0, 0, 0, 0)
    source = png((b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    refused(source, f"has {millions} million pixels, and the most is 89 million; make it smaller")


def test_a_picture_too_narrow_to_be_cut_is_refused(tmp_path):
    Image.new("L", (1, 9000)).save(tmp_path / "line.png")
    form = Form.of(size=224, channels=1, mean=0, std=1)
    reader = PictureReader(["line.png"], tmp_path, np.zeros(1), form, Geometry(224, 256), False)
    with pytest.raises(DataError, match=r"line.png: 1 x 9000 pixels are too narrow for a cut of 224 x 224"):
        reader.read(np.array([0]), None)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "is a named pipe, not a file")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    refused(tmp_path / "zero.png", "is a device, not a file")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "gone.png", "a link to a file that is not there")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    refused(tmp_path / "self.png", "cannot be read")
    refused(tmp_path, "is a folder, not a file")
    refused(tmp_path / "nowhere.png", "there is no such file")


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_and_plain_pictures_stand_in_one_batch(tmp_path, channels):
    levels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(levels).save(tmp_path / "plain.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    form = Form.of(size=8, channels=channels, mean=0.5, std=0.25)
    reader = PictureReader(["plain.png", "deep.png"], tmp_path, np.zeros(2), form, Geometry(form.size, 8), False)
    values = reader.read(np.array([0, 1]), None)[0]["pixel_values"]
    assert values.dtype == np.float32
    assert values.shape == (2, channels, 8, 8)
    assert np.allclose(values, (levels / 255 - 0.5) / 0.25, atol=1e-5)
    with Image.open(io.BytesIO(reader.show(1)["image"])) as picture:
        assert np.array_equal(np.asarray(picture.convert("L")), levels)


def test_what_other_programs_may_read_otherwise_is_said(tmp_path):
    notes = Image.Exif()
    notes[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "turned.png", exif=notes)
    Image.fromarray(np.dstack([COLOUR, COLOUR[..., 0]])).save(tmp_path / "clear.png")
    Image.fromarray(np.minimum(DEEP, 4095)).save(tmp_path / "dark.png")
    frames = [Image.new("L", (4, 4), level) for level in (0, 90)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    names = ["turned.png", "clear.png", "dark.png"]
    form = Form.of(size=8, channels=1, mean=0.5, std=0.25)

    def said(*chosen, **settings):
        return PictureReader(
            chosen, tmp_path, np.zeros(3), form, Geometry(form.size, 8), False, Decoder(**settings)
        ).notes(np.arange(len(chosen)))

    turned, clear, dark = said(*names)
    assert turned.startswith("1 of 3 pictures looked at are turned upright, as their EXIF orientation says")
    assert clear.startswith("1 of 3 pictures looked at have transparency, which is laid on `background`")
    assert "above 4095 of 65535, so that models see dark pictures: set `bits: 12`" in dark
    assert said("dark.png", bits=12) == ()
    (moving,) = said("moving.gif")
    assert moving == "1 of 1 pictures looked at have several frames, of which the first is taken, as training tools do"
    Image.fromarray(DEEP).save(tmp_path / "dark.png")
    assert said("dark.png") == ()
