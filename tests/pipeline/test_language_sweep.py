"""A tiny Llama that is quantized, made shallower and trained on by a recipe, judged token by token, and packaged."""

import pytest

from tests.pipeline.delivery.conftest import Home
from tests.pipeline.language import TALES, write_documents

RECIPE = """
name: tales
description: A small Llama
model: huggingface
dataset: table
tree:
  base:
    op: load
    then:
      int8: {op: quantize, with: {method: dynamic}}
      gptq:
        op: round_weights
        with: {samples: 16}
        then:
          int4: {op: quantize, with: {method: weight_only, bits: 4, block_size: 32}}
      shallow:
        op: drop_layers
        with: {samples: 16}
        then:
          tuned: {op: finetune, with: {epochs: 2, batch_size: 8, teacher: base}}
"""


@pytest.mark.matrix
@pytest.mark.slow
def test_a_language_model_goes_through_the_whole_pipeline(tmp_path):
    place = Home(tmp_path)
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / "recipe" / "tales.yaml").write_text(RECIPE)
    words = [
        "recipe=tales", "--config-dir", str(tmp_path / "conf"), "bench=none", f"model.weights={TALES}",
        f"dataset.path={write_documents(tmp_path)}", "dataset.task=language-modeling", "dataset.columns.split=split",
        "dataset.text.max_length=32", "dataset.text.stride=8",
    ]  # fmt: skip
    code, said, errors = place.run(*words)
    assert code == 0, errors
    assert "bits per byte" in said
    names = "model, bits_per_byte, perplexity_ratio, kl_to_base, agreement"
    boards = {name: figures for name, *figures in place.sql(f"SELECT {names} FROM scoreboard")}
    assert len(boards) == 6
    bits = {name: figures[0] for name, figures in boards.items()}
    assert bits["base"] < bits["base/shallow/tuned"] < bits["base/shallow"]
    assert boards["base/gptq/int4"][1] == pytest.approx(boards["base/gptq"][1], abs=0.02)
    assert 0 < boards["base/gptq/int4"][2] < boards["base/shallow"][2]
    groups = place.sql("SELECT grouping, sum(tokens), count(*) FROM token_groups GROUP BY grouping ORDER BY grouping")
    assert [row[0] for row in groups] == ["kind", "position"]
    assert groups[0][1] == groups[1][1] > 0
    predicted = place.sql("SELECT predicted, score, correct FROM predictions WHERE model = 'base'")
    assert len(predicted) == 20
    assert all((score >= 0.5) is correct for _, score, correct in predicted)
    code, _, errors = place.run("package", "base/gptq/int4", str(tmp_path / "package"))
    assert code == 0, errors
    assert (tmp_path / "package" / "predict.py").is_file()
    longer = [word.replace("max_length=32", "max_length=128") for word in words]
    code, _, errors = place.run(*longer)
    assert code != 0
    assert "the data has 128 tokens, the model takes 64; lower text.max_length" in errors
