"""A data set whose evaluation split is corrupted: the same instances under the same ids, made once and kept."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ops.core.registry import nearest
from pipeline.core.keys import digest
from pipeline.datasets.api import DataError, Split
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.evaluation_sets.pictures import PICTURE_CORRUPTIONS
from pipeline.datasets.evaluation_sets.texts import TEXT_CORRUPTIONS
from pipeline.datasets.reader import Arrays, Reader
from pipeline.datasets.readers.image_arrays import Form, png
from pipeline.datasets.readers.text import TextReader, tokenised
from pipeline.datasets.splits import SplitDataset, SplitInstances

__all__ = ["corrupted", "corruption_key"]

_VERSION = 1
"""Raise it when a corruption gives something else than before."""
_CHUNK = 256
_PIXELS = "pixel_values"


@dataclass(frozen=True, slots=True)
class _CorruptedPictures:
    """Pictures of some rows in the place of the reader's own."""

    reader: Reader
    form: Form
    levels: np.ndarray
    """uint8 (N, channels, size, size) of the corrupted rows."""
    places: Mapping[int, int]
    """Row -> place in `levels`."""

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`."""
        inputs, targets = self.reader.read(rows, None)
        levels = self.levels[[self.places[int(row)] for row in rows]]
        return {**inputs, _PIXELS: replace(self.form, peak=255).normalise(levels)}, targets

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`: what the network sees."""
        return {"image": png(self.levels[self.places[row]])}


def corruption_key(fingerprint: str, name: str, severity: int) -> str:
    """Return the identity of a corrupted evaluation split.

    Args:
        fingerprint: of the data set.
        name: of the corruption.
        severity: 1 to 5.

    Raises:
        DataError: for an unknown corruption, with the nearest name.
    """
    known = [*PICTURE_CORRUPTIONS, *TEXT_CORRUPTIONS]
    if name not in known:
        raise DataError(f"no corruption is called '{name}'.{nearest(name, known)} Known: {', '.join(known)}")
    return digest(
        {"what": "corrupted", "version": _VERSION, "dataset": fingerprint, "corruption": name, "severity": severity}
    )


def corrupted(data: SplitDataset, name: str, severity: int, folder: Path) -> SplitDataset:
    """Return a data set with the same evaluation instances, corrupted; its other splits are empty.

    Args:
        data: the data set.
        name: of the corruption.
        severity: 1 to 5.
        folder: the data folder, which keeps what is made.

    Raises:
        DataError: for an unknown corruption, or one that does not go with the data.
    """
    key = corruption_key(data.fingerprint, name, severity)
    view = copy.copy(data)
    view.fingerprint = key
    before, making = data.instances_change, _Making(data.name, name, severity, key, folder)
    view.change_instances(lambda loaded: making.corrupted(before(loaded)))
    return view


@dataclass(frozen=True, slots=True)
class _Making:
    """The corruption of one data set's evaluation split."""

    dataset: str
    name: str
    severity: int
    key: str
    folder: Path

    def corrupted(self, instances: SplitInstances) -> SplitInstances:
        """Return the instances with a reader that gives corrupted ones; only the evaluation split is left."""
        rows, reader = instances.splits["evaluation"], instances.reader
        form = getattr(reader, "form", None)
        if self.name in PICTURE_CORRUPTIONS and isinstance(form, Form):
            levels = self._pictures(instances, form)
            reader = _CorruptedPictures(reader, form, levels, {int(row): at for at, row in enumerate(rows)})
        elif self.name in TEXT_CORRUPTIONS and isinstance(reader, TextReader):
            reader = self._texts(instances, reader)
        else:
            self._refuse(reader)
        nothing = rows[:0]
        splits: dict[Split, np.ndarray] = {"train": nothing, "calibration": nothing, "evaluation": rows}
        return replace(instances, reader=reader, splits=splits, withheld=instances.withheld[:0])

    def _refuse(self, reader: Reader) -> NoReturn:
        is_picture = isinstance(getattr(reader, "form", None), Form)
        suitable = PICTURE_CORRUPTIONS if is_picture else TEXT_CORRUPTIONS if isinstance(reader, TextReader) else ()
        advice = (
            f"Those that do: {', '.join(suitable)}"
            if suitable
            else "Pictures and texts that are classified can be corrupted"
        )
        raise DataError(f"Data set '{self.dataset}': the corruption '{self.name}' does not go with it. {advice}")

    def _draws(self, instance: str) -> np.random.Generator:
        """Return an instance's own generator: it depends on nothing that stands beside it."""
        seed = hashlib.blake2b(f"{self.key}/{instance}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(seed))

    def _pictures(self, instances: SplitInstances, form: Form) -> np.ndarray:
        """uint8 (N, channels, size, size) of the evaluation split, in its order."""
        rows, corruption = instances.splits["evaluation"], PICTURE_CORRUPTIONS[self.name]
        mean, std = (np.asarray(own, np.float64)[:, None, None] for own in (form.mean, form.std))

        def make() -> dict[str, np.ndarray]:
            levels = np.empty((len(rows), form.channels, form.size, form.size), np.uint8)
            for start in range(0, len(rows), _CHUNK):
                part = rows[start : start + _CHUNK]
                inputs, _ = instances.reader.read(part, None)
                pictures = np.clip(inputs[_PIXELS] * std + mean, 0, 1)
                for at, (row, picture) in enumerate(zip(part, pictures, strict=True)):
                    draws = self._draws(str(instances.ids[row]))
                    levels[start + at] = corruption.corrupted(picture, self.severity, draws)
            return {"levels": levels}

        return derived_arrays(self.folder, f"corrupted-{self.key[:32]}", make)["levels"]

    def _texts(self, instances: SplitInstances, reader: TextReader) -> TextReader:
        """A reader whose evaluation texts are corrupted, with tokens of the same length."""
        rows, corruption = instances.splits["evaluation"], TEXT_CORRUPTIONS[self.name]
        texts = [tuple(parts) for parts in reader.texts]
        for row in rows:
            draws = self._draws(str(instances.ids[row]))
            texts[row] = tuple(corruption.corrupted(part, self.severity, draws) for part in texts[row])
        length = int(reader.tokens["input_ids"].shape[1])
        text = reader.text.model_copy(update={"max_length": length, "padding": None})
        own = tokenised(
            [texts[row] for row in rows], text, tokenizer=reader.tokenizer, key=self.key, folder=self.folder
        )
        tokens = {name: np.array(array) for name, array in reader.tokens.items()}
        for name, array in tokens.items():
            array[rows] = own[name]
        return replace(reader, texts=texts, tokens=tokens)
