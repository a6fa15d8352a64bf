"""Small real inputs: digits as PNG files, texts, questions, and a tokenizer made for them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.sources import digits


@pytest.fixture(scope="session")
def digit_pictures():
    """uint8 (1797, 16, 16) and their labels."""
    numbers = np.array([row.split(b",") for row in digits._content().split()], dtype=float).astype(np.uint8)
    return (numbers[:, :-1] * 15).reshape(-1, 8, 8).repeat(2, axis=1).repeat(2, axis=2), numbers[:, -1]


@pytest.fixture
def save_digits(digit_pictures):
    """A function that writes `count` digits of each of the first three classes as ROOT/CLASS/ROW.png."""

    def save(root: Path, *, count: int, first: int = 0, ending: str = "png") -> list[Path]:
        pictures, labels = digit_pictures
        files = []
        for label, name in enumerate(("zero", "one", "two")):
            (root / name).mkdir(parents=True, exist_ok=True)
            for row in np.flatnonzero(labels == label)[first : first + count]:
                files.append(root / name / f"{row:04d}.{ending}")
                Image.fromarray(pictures[row]).save(files[-1])
        return files

    return save


WORDS = """
[PAD] [UNK] [CLS] [SEP] the a film was is good bad dull fun who what where made by in of city river lies . ?
"""


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """The folder of a whole-word tokenizer of the BERT kind."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS.split())}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def writing_tokenizer(tmp_path_factory):
    """The folder of a whole-word tokenizer of the T5 kind."""
    from tests.pipeline.tokens import writing_tokenizer as save

    return save(tmp_path_factory.mktemp("writing"), WORDS.split()[4:])
