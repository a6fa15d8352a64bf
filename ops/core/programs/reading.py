"""How programs read rows: as the readers of data sets do, so that a model is shown what it learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.programs.program import Program

__all__ = ["QUESTION", "TEXT", "WRITTEN_QUESTION", "array_program", "picture_program", "row_program", "token_program"]

_SIDES = {
    "crop nearest": "max({size}, round(side * ({resize} / min(picture.size))))",
    "crop": "{resize} * side // min(picture.size)",
    "squash": "{resize}",
    "none": "side",
}
"""Sides before the cut, by fit; of the first also by how sizes are rounded that are no whole numbers."""
_OFFSETS = {
    "nearest": "round((side - {size}) / 2)",
    "transformers": "(side - {size}) // 2",
    "torchvision": "-(({size} - side) // 2) if side < {size} else round((side - {size}) / 2)",
}
_LEVELS = """\
    picture = ImageOps.exif_transpose(Image.open(row["image"]))
    if picture.mode[0] in "IF":
        raise ValueError(f"{{row['image']}} has more than 8 bits, and the pictures of the data had not")
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "{background}"), picture.convert("RGBA"))
    picture = picture.convert("{mode}")
"""
_DEEP_LEVELS = """\
    file = Image.open(row["image"])
    picture = ImageOps.exif_transpose(file)
    if picture.mode[0] in "IF":
        own = getattr(file, "tag_v2", {{}}).get(258, (16,))[0]
        peak = 1.0 if file.mode == "F" else 2.0 ** (own if own not in (16, 32) else {bits}) - 1
        picture = Image.fromarray(np.multiply(np.asarray(picture), 255 / peak, dtype=np.float32))
    picture = picture if picture.mode == "F" else picture.convert("{mode}")
"""
_PICTURE = """
def read(row):  # decoded, upright, resized, cut out of the middle, normalised
{levels}{place}
    pixels = np.asarray(picture.crop((left, top, left + {size}, top + {size})))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1){order}
{scaled}    return {{"pixel_values": (pixels * np.float32(SETTINGS["scale"]) - np.float32(SETTINGS["shift"]))[None]}}
"""
_PLACE = """\
    sides = [{sides} for side in picture.size]
    left, top = ({offset} for side in sides)
    picture = picture.resize(sides, Image.Resampling.{filter})"""
_ENLARGED = """\
    if picture.size != {shape}:
        raise ValueError(f"{{row['image']}} has {{picture.size}} pixels, not {shape}")
    picture, left, top = picture.resize({sides}, Image.Resampling.NEAREST), {left}, {top}"""
"""Small pictures of one shape: pixels become squares, in the middle of the model's input."""
_SCALED = """\
    pixels = np.rint(pixels * ({peak} / 255)).astype(np.uint8)
"""
_BYTE = 255

_TOKENIZER = """
TOKENIZER = Tokenizer.from_file(str(HERE / "tokenizer.json"))
TOKENIZER.enable_truncation(**SETTINGS["truncation"])
TOKENIZER.enable_padding(**SETTINGS["padding"])
TOKENS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""
TEXT = """
def read(row):
    encoding = TOKENIZER.encode(*(row[field] for field in SETTINGS["fields"]))
    return {name: np.array([getattr(encoding, part)]) for name, part in TOKENS.items()}
"""
QUESTION = """
def read(row):  # windows over the context, and the places of their tokens in it
    first = TOKENIZER.encode(row["question"].strip(), row["context"])
    windows = [first, *first.overflowing]
    places = [[o if part == 1 else (-1, -1) for o, part in zip(w.offsets, w.sequence_ids)] for w in windows]
    tokens = {name: np.array([getattr(one, part) for one in windows]) for name, part in TOKENS.items()}
    return {**tokens, "places": np.array(places)}
"""
WRITTEN_QUESTION = """
def read(row):
    encoding = TOKENIZER.encode(f"question: {row['question'].strip()} context: {row['context']}")
    return {name: np.array([getattr(encoding, part)]) for name, part in TOKENS.items()}
"""
_ARRAYS = """
def read(row):  # a file of NumPy's, with the inputs of one instance by their names
    with np.load(row["arrays"], allow_pickle=False) as file:
        return {name: file[name][None] for name in file.files}
"""
_ROW = """
def read(row):  # the numbers of the columns, standardised as in training
    values = np.array([float(row[field]) for field in SETTINGS["fields"]])
    values = (values - np.array(SETTINGS["mean"])) / np.array(SETTINGS["std"])
    return {"features": values.astype(np.float32)[None]}
"""


def array_program(answer: str) -> Program:
    """Return a program that reads arrays: where a data set does not say how its inputs are made."""
    return Program(_ARRAYS, answer, "FILE.npz ...")


def row_program(settings: Mapping[str, Any], answer: str) -> Program:
    """Return a program that reads rows of numbers.

    Args:
        settings: what the data set says of its inputs.
        answer: how answers are written.
    """
    return Program(_ROW, answer, "NUMBER ...") if "std" in settings else array_program(answer)


def token_program(settings: Mapping[str, Any], read: str, answer: str, words: str) -> Program:
    """Return a program that reads texts.

    Args:
        settings: what the data set says of its inputs.
        read: one of `TEXT`, `QUESTION` and `WRITTEN_QUESTION`.
        answer: how answers are written.
        words: of the command line, for people.
    """
    if "truncation" not in settings:
        return array_program(answer)
    imports, packages = ("from tokenizers import Tokenizer",), ("tokenizers",)
    return Program(read, answer, words, setup=_TOKENIZER, imports=imports, packages=packages)


def picture_program(settings: Mapping[str, Any], answer: str) -> Program:
    """Return a program that reads picture files.

    Args:
        settings: what the data set says of its inputs.
        answer: how answers are written.
    """
    if "fit" not in settings:
        return array_program(answer)
    imports, packages = ("from PIL import Image, ImageOps",), ("pillow",)
    return Program(_picture(settings), answer, "PICTURE ...", imports=imports, packages=packages)


def _picture(settings: Mapping[str, Any]) -> str:
    values = {
        **settings,
        "filter": settings["interpolation"].upper(),
        "mode": "L" if settings["channels"] == 1 else "RGB",
        "bits": f'16 if file.format == "PPM" else {settings["bits"]}' if settings["bits"] else "16",
    }
    return _PICTURE.format(
        levels=(_DEEP_LEVELS if settings["deep"] else _LEVELS).format(**values),
        place=_enlarged(settings) if settings["shape"] else _placement(values),
        size=settings["size"],
        order="[::-1]" if settings["channel_order"] == "bgr" else "",
        scaled="" if settings["peak"] == _BYTE else _SCALED.format(**values),
    )


def _placement(values: Mapping[str, Any]) -> str:
    fit, rounding = values["fit"], values["rounding"]
    sides = _SIDES["crop nearest" if (fit, rounding) == ("crop", "nearest") else fit].format(**values)
    return _PLACE.format(sides=sides, offset=_OFFSETS[rounding].format(**values), filter=values["filter"])


def _enlarged(settings: Mapping[str, Any]) -> str:
    sides = tuple(side * settings["enlarge"] for side in settings["shape"])
    column, row = (-((settings["size"] - side) // 2) for side in sides)
    return _ENLARGED.format(shape=tuple(settings["shape"]), sides=sides, left=column, top=row)
