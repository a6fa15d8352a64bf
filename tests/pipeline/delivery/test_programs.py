"""Programs of packages read rows exactly as the data set's own reader does, whatever the picture or the text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ops.core.programs.program import Program
from ops.core.tasks.task import PICTURES, TASKS, Axis, Input, Task
from pipeline.datasets.reader import RowReader
from pipeline.datasets.readers.decoding import Decoder
from pipeline.datasets.readers.geometry import Geometry
from pipeline.datasets.readers.image_arrays import ArrayReader, Form
from pipeline.datasets.readers.image_files import PictureReader

NOISE = np.random.default_rng(0)
GREY, COLOUR = NOISE.integers(0, 256, (37, 53), np.uint8), NOISE.integers(0, 256, (61, 40, 3), np.uint8)


def save_pictures(folder: Path) -> list[str]:
    """Grey, colour, turned, transparent, with a palette, small, and as JPEG."""
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(GREY).save(folder / "grey.png")
    Image.fromarray(COLOUR).save(folder / "colour.png")
    Image.fromarray(COLOUR).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(np.dstack([COLOUR, COLOUR[..., 0]])).save(folder / "clear.png")
    Image.fromarray(COLOUR).quantize(16).save(folder / "palette.png")
    Image.fromarray(COLOUR[:9, :7]).save(folder / "tiny.bmp")
    Image.fromarray(COLOUR).convert("CMYK").save(folder / "print.tiff")
    return ["grey.png", "colour.png", "turned.jpg", "clear.png", "palette.png", "tiny.bmp", "print.tiff"]


def program_read(reader, folder):
    """Run the reading part of the program alone."""
    settings = reader.write_settings(folder)
    program = TASKS["image-classification"].program(settings)
    assert program.text().count("\n") < 60
    space = {"np": np, "Image": Image, "ImageOps": ImageOps, "SETTINGS": settings}
    exec(program.read, space)
    return lambda row: space["read"](reader.write_row(row, folder))["pixel_values"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(24, 28),
        Geometry(24, 28, interpolation="bicubic", rounding="transformers"),
        Geometry(24, 27, rounding="torchvision", channel_order="bgr"),
        Geometry(24, 24, "squash", "lanczos"),
        Geometry(20, 25, "squash", "nearest", "transformers"),
        Geometry(24, 24, "none", rounding="torchvision"),
        Geometry(25, 25, "none", rounding="transformers"),
        Geometry(25, 25, "none"),
    ],
)
def test_pictures_are_read_as_the_reader_reads_them(tmp_path, geometry, channels):
    names = save_pictures(tmp_path)
    form = Form.of(size=geometry.size, channels=channels, mean=0.45, std=0.225)
    reader = PictureReader(names, tmp_path, np.zeros(len(names)), form, geometry, False, Decoder(background="black"))
    read = program_read(reader, tmp_path)
    for row, name in enumerate(names):
        expected = reader.read(np.array([row]), None)[0]["pixel_values"]
        assert np.array_equal(read(row), expected), name
        assert read(row).dtype == np.float32


@pytest.mark.parametrize("bits", [None, 12])
def test_deep_pictures_are_read_as_the_reader_reads_them(tmp_path, bits):
    levels = NOISE.integers(0, 4096, (30, 30)).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    Image.fromarray(levels).save(tmp_path / "deep.tiff")
    Image.fromarray((levels / 4096).astype(np.float32)).save(tmp_path / "real.tiff")
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    names = ["deep.png", "deep.tiff", "real.tiff", "grey.png"]
    form = Form.of(size=20, channels=3, mean=[0.4, 0.5, 0.6], std=0.25)
    reader = PictureReader(names, tmp_path, np.zeros(4), form, Geometry(20, 24), False, Decoder(bits))
    read = program_read(reader, tmp_path)
    for row, name in enumerate(names):
        assert np.array_equal(read(row), reader.read(np.array([row]), None)[0]["pixel_values"]), name


def test_deep_pictures_are_refused_where_the_data_have_none(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    form = Form.of(size=20, channels=1, mean=0.5, std=0.25)
    reader = PictureReader(["grey.png"], tmp_path, np.zeros(1), form, Geometry(20, 24), False)
    read = program_read(reader, tmp_path)
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"grey.png has more than 8 bits, and the pictures of the data had not"):
        read(0)


@pytest.mark.parametrize(("peak", "repeat", "size", "channels"), [(16, 1, 8, 1), (16, 3, 28, 3), (255, 1, 9, 1)])
def test_small_arrays_are_enlarged_and_centred(tmp_path, peak, repeat, size, channels):
    pictures = NOISE.integers(0, peak + 1, (5, 1, 8, 8), np.uint8)
    reader = ArrayReader(
        pictures, np.zeros(5), Form.of(size=size, channels=channels, mean=0.3, std=0.4, peak=peak), repeat
    )
    read = program_read(reader, tmp_path)
    for row in range(5):
        assert np.array_equal(read(row), reader.read(np.array([row]), None)[0]["pixel_values"])


class Silent(Task):
    """A plug-in's task of pictures that says nothing of programs. Not registered: other tests ask what tasks there are."""

    name = "silent"
    inputs = (Input(PICTURES, "float32", ("channels", "height", "width")),)
    outputs = ("logits",)
    targets = ("tags",)

    def loss(self, outputs, targets, *, label_smoothing=0.0):
        return outputs["logits"].mean()

    def axes(self, output, classes, inputs):
        return (Axis("classes", classes),)

    def judge(self, evaluation):
        raise AssertionError(evaluation)

    def correct(self, evaluation):
        raise AssertionError(evaluation)


def test_a_task_that_says_nothing_gives_its_outputs(tmp_path):
    """Its pictures are read as all are, and answered with what the network gives."""
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    form = Form.of(size=20, channels=1, mean=0.5, std=0.25)
    reader = PictureReader(["grey.png"], tmp_path, np.zeros(1), form, Geometry(20, 24), False)
    program = Silent().program(reader.write_settings(tmp_path))
    assert 'row["image"]' in program.read
    assert '"outputs"' in program.answer
    assert program.packages == ("pillow",)


def test_inputs_that_nothing_is_said_of_come_as_arrays():
    class Plain:
        def read(self, rows, noise):
            return {}, {}

        def show(self, row):
            return {}

    assert not isinstance(Plain(), RowReader)
    program = TASKS["image-classification"].program({"fields": ["arrays"]})
    assert isinstance(program, Program)
    assert program.words == "FILE.npz ..."
