"""Packages of every kind of input: texts, pairs, questions, answers that are written, picture files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.delivery.conftest import Home
from tests.pipeline.tokens import writing_tokenizer

WORDS = "[PAD] [UNK] [CLS] [SEP] the a film was is good bad dull fun who made by in of city river lies . ?"
MODELS = {
    "bert": "{name: bert, builder: huggingface, architecture: bert, config: {vocab_size: 32, hidden_size: 32, "
    "num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}}",
    "t5": "{name: t5, builder: huggingface, architecture: t5, config: {d_model: 32, d_kv: 16, d_ff: 64, num_layers: 1, "
    "num_heads: 2, vocab_size: 32, dropout_rate: 0.0}}",
    "cnn": "{name: cnn, builder: residual_cnn, depths: [1, 1], widths: [8, 16]}",
}
OPERATIONS = {
    "int4": "quantize, with: {method: weight_only, bits: 4}",
    "dynamic": "quantize, with: {method: dynamic}",
    "zeros": "magnitude_prune, with: {sparsity: 0.5}",
    "pruned": "channel_prune, with: {ratio: 0.5}",
}


def bert_tokenizer(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS.split())}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def rows_of(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def texts(pair: bool):
    for number in range(90):
        mood = ("good", "bad")[number % 2]
        text = f"the film was {mood} " + "in the city " * (number % 5) + f"{number} ."
        yield {"text": text, "label": mood, **({"other": f"a {mood} film" + " . fun" * (number % 3)} if pair else {})}


def questions():
    for number in range(60):
        filler = "the city lies by the river . a dull film was made in the city . " * (number % 3)
        answers = [] if number % 5 == 0 else [f"fun {number}"]
        yield {
            "question": f"who made the film {number} ?", "answers": answers,
            "context": f"{filler}the film {number} was made by fun {number} . {filler}",
        }  # fmt: skip


def pictures(folder: Path):
    rng = np.random.default_rng(0)
    for number in range(80):
        name = ("dark", "light")[number % 2]
        level, shape = 60 + 120 * (number % 2), (rng.integers(20, 40), rng.integers(20, 40), 3)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(level - 40, level + 40, shape).astype(np.uint8)).save(
            folder / name / f"{number}.png"
        )
    return folder


def dataset(kind: str, folder: Path) -> dict:
    if kind == "pictures":
        return {"dataset": "image_folder", "root": str(pictures(folder / "pictures")), "size": 16, "resize": 18}
    text = {"tokenizer": str(bert_tokenizer(folder / "bert")), "max_length": 24}
    if kind in ("text", "pair"):
        columns = {"text": ["text", "other"]} if kind == "pair" else {}
        return {
            "dataset": "table", "path": rows_of(folder / "rows.jsonl", texts(kind == "pair")), "task": "text-classification",
            "text": {**text, "padding": "longest"} if kind == "text" else {**text, "max_length": 12}, "columns": columns,
        }  # fmt: skip
    path = rows_of(folder / "rows.jsonl", questions())
    if kind == "written":
        text = {
            "tokenizer": str(writing_tokenizer(folder / "t5", WORDS.split()[4:])),
            "max_length": 40,
            "answer_tokens": 5,
        }
        return {"dataset": "table", "path": path, "task": "generative-question-answering", "text": text}
    return {"dataset": "table", "path": path, "task": "question-answering", "text": {**text, "stride": 6}}


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize(
    ("kind", "model", "operation", "target"),
    [
        ("text", "bert", "int4", "onnxruntime"),
        ("pair", "bert", "dynamic", "onnxruntime"),
        ("unanswerable", "bert", "int4", "onnxruntime"),
        ("written", "t5", "dynamic", "onnxruntime"),
        ("pictures", "cnn", "pruned", "onnxruntime"),
        ("pictures", "cnn", "pruned", "pytorch"),
        ("text", "bert", "zeros", "pytorch"),
    ],
)
def test_a_package_answers_with_the_runtime_alone_as_the_results_say(
    tmp_path, runtime_alone, kind, model, operation, target
):
    place = Home(tmp_path)
    recipe = {"name": "kind", "targets": [target], "dataset": {"name": kind, **dataset(kind, tmp_path)}}
    text = json.dumps(recipe)[:-1] + f', "model": {MODELS[model]}, "tree": {{base: {{op: train, with: {{epochs: 2, '
    text += f"batch_size: 16, learning_rate: 5.0e-3}}, then: {{smaller: {{op: {OPERATIONS[operation]}}}}}}}}}}}"
    (tmp_path / "kind.yaml").write_text(text)
    code, _, said = place.run(f"recipe={tmp_path / 'kind.yaml'}", "bench=none")
    assert code == 0, said
    package = tmp_path / "package"
    code, _, said = place.run("package", "base/smaller", str(package))
    assert code == 0, said
    assert len((package / "predict.py").read_text().splitlines()) < 60
    expected = place.sql(
        "SELECT instance_id, predicted FROM predictions WHERE model = 'base/smaller' ORDER BY position"
    )
    given = list(map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())) if kind != "pictures" else None
    if given is None:
        rows = [{"image": str(tmp_path / "pictures" / name)} for name, _ in expected]
    else:
        fields = {"text": "text", "other": "text_pair", "question": "question", "context": "context"}
        chosen = [given[int(name) - 1] for name, _ in expected]
        rows = [{fields[name]: value for name, value in row.items() if name in fields} for row in chosen]
    names = {line.partition("==")[0] for line in (package / "requirements.txt").read_text().splitlines()}
    assert ("onnxruntime" in names, "torch" in names) == (target == "onnxruntime", target == "pytorch")
    done = runtime_alone(package, rows="".join(json.dumps(row) + "\n" for row in rows))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["answer"] for line in done.stdout.splitlines()] == [predicted for _, predicted in expected]
