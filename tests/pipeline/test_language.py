"""Language modelling: windows, figures against a plain loop, tokens by group, and what is refused."""

import json
import math
import re

import numpy as np
import pytest
import torch

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS
from ops.core.tasks.language.language_modeling import LIKELIEST, compact, per_token, token_divergence
from ops.core.tasks.task import TASKS
from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.readers.documents import KINDS, described_tokens
from pipeline.measure.evaluate import predict
from pipeline.measure.metrics.compute import compute
from pipeline.measure.sensitivity.damage import check_task
from pipeline.measure.token_groups import token_groups
from pipeline.models.api import ModelError
from pipeline.models.onnx_export import export_onnx
from pipeline.models.preprocessing.vocabulary import check_vocabulary
from pipeline.targets.onnxruntime import OnnxRuntime
from tests.pipeline.dataset_contract import DatasetContract
from tests.pipeline.language import context, documents_entry, sentences, tales_model, write_documents
from tests.pipeline.tokens import byte_tokenizer


class TestDocuments(DatasetContract):
    @pytest.fixture
    def entry(self, tmp_path):
        return documents_entry(write_documents(tmp_path, 30), columns={"split": "split", "attributes": ["split"]})

    @pytest.fixture
    def variants(self, entry):
        text = entry["text"]
        return [
            {"text": {**text, "max_length": 24}}, {"text": {**text, "stride": 4}}, {"text": {**text, "document_tokens": 40}},
            {"train": 5}, {"evaluation": 3},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, tmp_path):
        def change():
            file = tmp_path / "documents.jsonl"
            file.write_text(file.read_text().replace("Ada", "Eva"))
            return entry

        return change

    def test_shapes_and_types_are_as_declared(self, data):
        for split in ("train", "calibration", "evaluation"):
            batch = next(data.batches(split, batch_size=3))
            assert set(batch.inputs) == set(data.inputs)
            for array in (*batch.inputs.values(), *batch.targets.values()):
                assert array.dtype == np.int64
                assert array.shape == (len(batch), 32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tales")


@pytest.fixture(scope="module")
def data(place):
    return open_dataset(documents_entry(write_documents(place)), place / "cache")


@pytest.fixture(scope="module")
def model(data):
    return tales_model(data)


def _predicted(model, data, place, name):
    export_onnx(model, place / name)
    with OnnxRuntime().open(place / name, threads=1) as session:
        return predict(session, data, batch_size=7)


@pytest.fixture(scope="module")
def base(model, data, place):
    return _predicted(model, data, place, "base.onnx")


@pytest.fixture(scope="module")
def pruned(model, data, place):
    prune = OPERATIONS["magnitude_prune"]
    worse = prune.apply(model, context(data, place), **prune.check({"sparsity": 0.4}))
    return _predicted(worse, data, place, "pruned.onnx")


def _plain_loop(module, texts, *, length=32, shared=8):
    """Loss and bytes of each document as the documentation of transformers computes perplexity with a sliding window."""
    from transformers import AutoTokenizer

    from tests.pipeline.language import TALES

    encoder = AutoTokenizer.from_pretrained(str(TALES))
    documents = []
    for text in texts:
        ids = encoder(text)["input_ids"]
        total, count, previous = 0.0, 0, 1
        for begin in range(0, len(ids), length - shared):
            end = min(begin + length, len(ids))
            window = torch.tensor([ids[begin:end]])
            labels = window.clone()
            labels[:, : previous - begin] = -100
            if int((labels[:, 1:] != -100).sum()):
                with torch.no_grad():
                    number = int((labels[:, 1:] != -100).sum())
                    total += float(module(input_ids=window, labels=labels).loss) * number
                count += number
            previous = end
            if end == len(ids):
                break
        first = len(encoder.decode(ids[:1]).encode())
        documents.append((total, count, len(text.encode()) - first))
    return np.array(documents)


def test_figures_are_those_of_a_plain_loop(model, data, base):
    texts = [data.show(name)["text"] for name in data.ids("evaluation")]
    expected = _plain_loop(model.module, texts)
    total, tokens, size = expected.sum(axis=0)
    figures = {spec.name: estimate for spec, estimate in compute(base)}
    assert figures["perplexity"].value == pytest.approx(math.exp(total / tokens), rel=1e-3)
    assert figures["loss"].value == pytest.approx(total / tokens, rel=1e-4)
    assert figures["bits_per_byte"].value == pytest.approx(total / math.log(2) / size, rel=1e-4)
    assert figures["bits_per_byte"].low < figures["bits_per_byte"].value < figures["bits_per_byte"].high
    assert figures["bits_per_byte"].count == len(texts) == 20
    assert any("é" in text for text in texts)  # bytes are not characters


def test_every_token_but_the_first_is_judged_once(data):
    from transformers import AutoTokenizer

    from tests.pipeline.language import TALES

    encoder = AutoTokenizer.from_pretrained(str(TALES))
    judged = {}
    for batch in data.batches("evaluation", batch_size=9):
        for name, tokens in zip(batch.ids, batch.targets["next_tokens"], strict=True):
            judged.setdefault(name, []).extend(tokens[tokens >= 0].tolist())
    assert len(judged) == data.size("evaluation")
    for name, tokens in judged.items():
        assert tokens == encoder(data.show(name)["text"])["input_ids"][1:]
    windows = max(len(list(data.batches("evaluation", batch_size=1))), 0)
    assert windows > data.size("evaluation")


def test_the_ratio_of_sums_is_the_mean_of_its_rows():
    values, weights = np.array([[1.0, 2, 0], [5, 0, 0]]), np.array([[1, 1, 0], [1, 0, 0]])
    rows = per_token(values, weights)
    assert rows.mean() == pytest.approx(8 / 3)
    residuals = np.array([3 - 8 / 3 * 2, 5 - 8 / 3]) / 1.5
    np.testing.assert_allclose(rows - rows.mean(), residuals)


def test_changes_are_those_of_whole_distributions(model, data, base, pruned):
    figures = {spec.name: estimate for spec, estimate in compute(pruned, base=base)}
    judged = base.targets["next_tokens"] >= 0
    first, second = (each.outputs["likeliest"][:, :, 0] for each in (base, pruned))
    assert figures["agreement"].value == pytest.approx((first == second)[judged].mean())
    broken = (first == base.targets["next_tokens"]) & (second != base.targets["next_tokens"])
    assert figures["tokens_broken"].value == pytest.approx(broken[judged].mean())
    ratio = figures["perplexity_ratio"]
    own, before = ({s.name: e for s, e in compute(each)}["perplexity"].value for each in (pruned, base))
    assert ratio.value == pytest.approx(own / before, rel=1e-6)
    assert 1 < ratio.low < ratio.value < ratio.high
    flipped = judged & (first != second)
    margin = np.exp(base.outputs["likeliest_log_probability"][..., 0]) - np.exp(
        base.outputs["likeliest_log_probability"][..., 1]
    )
    assert figures["flip_margin"].value == pytest.approx(margin[flipped].mean(), rel=1e-4)
    assert figures["kl_to_base"].value > 0


@pytest.mark.parametrize("vocabulary", [20, LIKELIEST, 500])
def test_the_divergence_of_kept_tokens_is_a_bound_and_exact_for_small_vocabularies(vocabulary):
    draw = np.random.default_rng(0)
    logits = [draw.normal(scale=3, size=(2, 6, vocabulary)).astype(np.float32) for _ in range(2)]
    logits[1] = 0.8 * logits[0] + 0.2 * logits[1]
    tokens = draw.integers(0, vocabulary, (2, 6))
    from pipeline.measure.metrics.api import Predictions

    targets = {"next_tokens": np.where(np.arange(6) < 5, np.roll(tokens, -1, axis=1), -100)}
    base, other = (
        Predictions("language-modeling", (), ("a", "b"), compact(values, tokens), targets) for values in logits
    )
    log = [torch.from_numpy(values).double().log_softmax(-1).numpy() for values in logits]
    whole = (np.exp(log[0]) * (log[0] - log[1])).sum(-1)
    bound = token_divergence(other, base)
    assert (bound[:, 5] == 0).all()
    if vocabulary <= LIKELIEST:
        np.testing.assert_allclose(bound[:, :5], whole[:, :5], rtol=1e-4, atol=1e-5)
    else:
        assert (bound[:, :5] <= whole[:, :5] + 1e-5).all()
        assert bound[:, :5].sum() > 0.8 * whole[:, :5].sum()


def test_what_is_kept_is_what_sorting_gives():
    draw = np.random.default_rng(1)
    logits = np.round(draw.normal(size=(1, 4, 200)), 1).astype(np.float32)  # with equals
    kept = compact(logits, np.array([[3, 5, 7, 9]]))
    log = torch.from_numpy(logits).double().log_softmax(-1).numpy()
    np.testing.assert_allclose(kept["log_probability"][0, :3], log[0, [0, 1, 2], [5, 7, 9]], rtol=1e-5)
    assert kept["log_probability"][0, 3] == 0
    assert np.array_equal(kept["likeliest"][:, :, 0], logits.argmax(2))
    np.testing.assert_allclose(kept["likeliest_log_probability"], -np.sort(-log, axis=2)[:, :, :LIKELIEST], rtol=1e-5)


def test_outputs_that_are_no_numbers_are_told(base, data):
    from dataclasses import replace

    logits = np.full((1, 3, 30), np.nan, np.float32)
    assert np.isnan(compact(logits, np.zeros((1, 3), int))["log_probability"][0, :2]).all()
    outputs = {name: array.copy() for name, array in base.outputs.items()}
    outputs["log_probability"][0, 0] = np.nan
    spoilt = replace(base, outputs=outputs)
    figures = {spec.name: estimate.value for spec, estimate in compute(spoilt, base=base)}
    assert figures["invalid_outputs"] == pytest.approx(1 / 20)
    assert not figures.keys() & {"perplexity", "bits_per_byte", "loss", "kl_to_base"}
    assert TASKS[base.task].judge(spoilt).predicted[0] == "(not a number)"
    sizes = (base.targets["next_tokens"] >= 0).sum(axis=1)
    alike = TASKS[base.task].agreement(spoilt, spoilt)
    assert np.mean(alike) == pytest.approx(1 - sizes[0] / sizes.sum())


def test_tokens_stand_for_bytes_and_are_of_a_kind():
    text = "Zoë's 12 cats\n"
    spans = [(0, 0), (0, 2), (2, 3), (3, 4), (4, 5), (5, 8), (8, 13), (13, 14)]
    sizes, kinds = described_tokens(text, spans, [1, 0, 0, 0, 0, 0, 0, 0])
    assert sizes.tolist() == [0, 2, 2, 1, 1, 3, 5, 1]
    assert sizes.sum() == len(text.encode())
    names = [KINDS[kind] for kind in kinds]
    assert names == [
        "special",
        "start of a word",
        "inside a word",
        "punctuation",
        "start of a word",
        "number",
        "start of a word",
        "space",
    ]


def test_groups_of_tokens_add_up(base, pruned):
    groups = list(token_groups(pruned, base))
    for grouping in ("kind", "position"):
        parts = [group for group in groups if group.grouping == grouping]
        assert sum(group.tokens for group in parts) == int((base.targets["next_tokens"] >= 0).sum())
        total = sum(group.loss.value * group.tokens for group in parts) / sum(group.tokens for group in parts)
        figures = {spec.name: estimate.value for spec, estimate in compute(pruned, base=base)}
        assert total == pytest.approx(figures["loss"], rel=1e-5)
        flips = sum(group.flips.value * group.tokens for group in parts) / sum(group.tokens for group in parts)
        assert flips == pytest.approx(1 - figures["agreement"], rel=1e-5)
    assert {group.name for group in groups if group.grouping == "position"} == {"1 to 31", "32 to 127", "128 to 511"}
    assert all(group.loss_change is None and group.flips is None for group in token_groups(base, None))


@pytest.mark.parametrize(
    ("rows", "text", "message"),
    [
        (["fine words here", "   "], {}, r"line 2: the document is empty; remove the row"),
        (["fine words here", "a"], {}, r"line 2: the document is a single token"),
        (
            ["fine words here"] * 3,
            {"stride": 32},
            r"text.stride: windows of 32 tokens \(text.max_length\) cannot share 32",
        ),
        (
            ["fine words here"] * 3,
            {"padding": "longest"},
            "text.padding: `longest` does not apply to language-modeling",
        ),
    ],
)
def test_documents_that_cannot_be_read_are_refused(tmp_path, rows, text, message):
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    entry = documents_entry(tmp_path / "d.jsonl", columns={})
    entry["text"] = {**entry["text"], **text}
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(entry, tmp_path / "cache").size("evaluation")
    assert "\n" not in str(caught.value)


def test_long_documents_are_read_up_to_a_limit_and_it_is_said(tmp_path):
    entry = documents_entry(write_documents(tmp_path))
    entry["text"]["document_tokens"] = 40
    data = open_dataset(entry, tmp_path / "cache")
    assert re.fullmatch(
        r"\d+ documents are longer than 40 tokens and are read up to there \(text.document_tokens\)", data.notes[0]
    )
    judged = {}
    for batch in data.batches("evaluation", batch_size=50):
        for name, tokens in zip(batch.ids, batch.targets["next_tokens"], strict=True):
            judged[name] = judged.get(name, 0) + int((tokens >= 0).sum())
    assert max(judged.values()) == 39


def test_a_tokenizer_with_more_tokens_than_the_network_is_refused(model, tmp_path):
    folder = byte_tokenizer(tmp_path / "other", sentences(60, seed=1), size=320)
    other = open_dataset(
        documents_entry(write_documents(tmp_path), text={"tokenizer": str(folder)}), tmp_path / "cache"
    )
    other.size("evaluation")
    if other.vocabulary <= 300:
        pytest.skip("the texts gave no more tokens")
    with pytest.raises(
        ModelError, match=r"its vocabulary has 300 tokens and the data's tokenizer 3\d\d: it is not the model's"
    ):
        check_vocabulary(model, other)


def test_pruning_the_tied_embedding_alone_is_one_clear_line(model, data, tmp_path):
    prune = OPERATIONS["activation_prune"]
    with pytest.raises(OperationError, match=r"No layer is left to change: 'lm_head'.*model\.embed_tokens") as caught:
        prune.apply(model, context(data, tmp_path), **prune.check({"sparsity": 0.5, "exclude": ["*_proj"]}))
    assert "\n" not in str(caught.value)


def test_sensitivity_is_refused_as_its_figures_are_of_instances():
    with pytest.raises(OperationError, match="not measured for 'language-modeling': every token is an answer"):
        check_task("language-modeling")
