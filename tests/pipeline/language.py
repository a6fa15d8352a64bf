"""Small documents, and tiny decoders that have learned them."""

import json
from pathlib import Path

import numpy as np

from ops.core.operation import Uses
from tests.pipeline.tokens import byte_tokenizer

TALES = Path(__file__).with_name("weights") / "tales"
"""The folder of a tiny Llama and its tokenizer."""

_NAMES = ["Ada", "Boris", "Chloé", "Dmitri", "Elena"]
_VERBS = ["sees", "paints", "sells", "repairs", "remembers"]
_THINGS = ["a red house", "the old bridge", "two boats", "seven apples", "a garden", "the letter"]
_PLACES = ["in Paris", "at home", "near the sea", "on Monday", "before 1984"]
LLAMA = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True,
}  # fmt: skip


def sentences(count: int, seed: int) -> list[str]:
    """Documents of a small grammar, of one to eight sentences."""
    draw = np.random.default_rng(seed)

    def sentence() -> str:
        return " ".join(str(draw.choice(words)) for words in (_NAMES, _VERBS, _THINGS, _PLACES)) + "."

    return [" ".join(sentence() for _ in range(draw.integers(1, 9))) for _ in range(count)]


def write_documents(folder: Path, count: int = 60) -> Path:
    """Write a table of documents, a third to judge on, and return its path."""
    texts = sentences(count, seed=1)
    splits = ["train", "calibration", "evaluation"]
    rows = [{"text": text, "split": splits[number % 3]} for number, text in enumerate(texts)]
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "documents.jsonl"


def documents_entry(file: Path, **changes) -> dict:
    text = {"tokenizer": str(TALES), "max_length": 32, "stride": 8}
    return {
        "name": "tales", "dataset": "table", "path": str(file), "task": "language-modeling",
        "columns": {"split": "split"}, "text": text, **changes,
    }  # fmt: skip


def tales_model(data, *, pretrained: bool = True, **changes):
    """The tiny Llama that has learned the grammar (`python -m tests.pipeline.language`), built for a data set."""
    from pipeline.models.api import Need
    from pipeline.models.build import build

    need = Need(data.task, tuple(data.classes), data.inputs, pretrained)
    return build({"name": "tales", "builder": "huggingface", "weights": str(TALES), **changes}, need)


def context(data, scratch: Path):
    """The context that the worker gives to operations."""
    from pipeline.models.build import build
    from pipeline.stages.operation import settle
    from pipeline.stages.operation_context import WorkerContext

    settle(0, threads=1)
    return WorkerContext(
        seed=0, scratch=scratch, dataset=lambda: data, build=build, references={}, uses=frozenset(Uses)
    )


def _train(folder: Path, *, steps: int = 150) -> None:
    """Write a tiny Llama that has learned the grammar, and its tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    encoder = AutoTokenizer.from_pretrained(str(byte_tokenizer(folder, sentences(60, seed=1))))
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(encoder), pad_token_id=0, eos_token_id=0, bos_token_id=None, **LLAMA)
    model = LlamaForCausalLM(config)
    stream = torch.tensor([token for text in sentences(400, seed=2) for token in [*encoder(text)["input_ids"], 0]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        starts = torch.randint(0, len(stream) - 32, (16,), generator=draw)
        batch = torch.stack([stream[start : start + 32] for start in starts.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


if __name__ == "__main__":
    _train(TALES)
