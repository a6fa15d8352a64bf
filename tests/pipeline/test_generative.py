"""A T5 that is trained, broken, repaired, fine-tuned and quantized by a recipe, and judged by what it writes."""

import json

import pytest

from tests.pipeline.command import Place
from tests.pipeline.tokens import writing_tokenizer

NAMES = ["anna", "ben", "carl", "dora", "emil", "fay", "gus", "hal"]
THINGS = ["car", "hat", "cup", "dog"]
WORDS = [*NAMES, *THINGS, *["question", ":", "context", "has", "the", "who", "?", "."]]
RECIPE = """
name: generative
description: A small T5
model: small_t5
dataset: table
tree:
  base:
    op: train
    with: {epochs: 40, batch_size: 16, learning_rate: 1.0e-2, clip_norm: 1.0}
    then:
      int8: {op: quantize}
      everything:
        op: magnitude_prune
        with: {sparsity: 0.5, scope: layer, include: [linear, norm]}
        then:
          restored:
            op: restore
            with: {include: [norm]}
      wanda:
        op: activation_prune
        with: {sparsity: 0.5, samples: 16}
        then:
          distilled: {op: finetune, with: {epochs: 1, batch_size: 16, teacher: base}}
"""
MODEL = """
name: small_t5
builder: huggingface
architecture: t5
config: {d_model: 32, d_kv: 16, d_ff: 64, num_layers: 1, num_heads: 2, vocab_size: 24, dropout_rate: 0.0}
"""


def _questions():
    """Who has a thing? The paragraph says it, and everybody always has the same."""
    for number in range(240):
        mine, its = number % 4, (number + 1 + number // 4 % 3) % 4
        owner, other = (" ".join(NAMES[2 * thing : 2 * thing + 2]) for thing in (its, mine))
        context = f"{other} has the {THINGS[mine]} . {owner} has the {THINGS[its]} ."
        yield {
            "question": f"who has the {THINGS[its]} ?", "context": context, "answers": owner, "thing": THINGS[its],
            "split": "evaluation" if number < 40 else "calibration" if number < 80 else "train",
        }  # fmt: skip


@pytest.mark.matrix
@pytest.mark.slow
def test_a_model_that_writes_goes_through_the_whole_pipeline(tmp_path):
    place = Place(tmp_path)
    for kind, name, text in (("recipe", "generative", RECIPE), ("model", "small_t5", MODEL)):
        (tmp_path / "conf" / kind).mkdir(parents=True)
        (tmp_path / "conf" / kind / f"{name}.yaml").write_text(text)
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _questions()))
    tokenizer = writing_tokenizer(tmp_path / "tokenizer", WORDS)
    code, _, said = place.run(
        "--config-dir", str(tmp_path / "conf"), "recipe=generative", "bench=none", f"dataset.path={tmp_path / 'questions.jsonl'}",
        "dataset.task=generative-question-answering", f"dataset.text.tokenizer={tokenizer}", "dataset.text.max_length=24",
        "dataset.text.answer_tokens=4", "dataset.columns.split=split", "dataset.columns.attributes=[thing]",
    )  # fmt: skip
    assert code == 0, said
    boards = dict(place.sql("SELECT model, f1 FROM scoreboard"))
    assert len(boards) == 6
    assert None not in boards.values()
    assert boards["base"] > 0.7
    assert boards["base/int8"] > boards["base"] - 0.2
    assert boards["base/everything/restored"] > boards["base/everything"]
    written = place.sql("SELECT label, predicted, correct FROM predictions WHERE model = 'base'")
    assert len(written) == 40
    assert all((label == predicted) is correct for label, predicted, correct in written)
    zeros = dict(
        place.sql(
            "SELECT model, sum(size - nonzeros) / sum(size) FROM layers WHERE module_type = 'T5LayerNorm' GROUP BY model"
        )
    )
    assert zeros["base/everything"] == 0.5
    assert zeros["base/everything/restored"] == zeros["base/wanda/distilled"] == 0
