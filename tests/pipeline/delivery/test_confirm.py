"""A choice is confirmed on instances that nothing else reads, and every look is written down."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.datasets.api import SPLITS, DataError
from pipeline.datasets.confirmation_access import WrittenLook, open_confirmation
from pipeline.datasets.open import open_dataset
from pipeline.delivery.confirmation.confirm import ConfirmedModel
from pipeline.delivery.confirmation.confirmation_report import parts_within_noise
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import ConfirmationFigure
from viewer.best import named_best
from viewer.results.results import load_results

ENTRY = {"name": "digits", "dataset": "digits", "confirmation": 0.4}


@pytest.fixture
def place(swept, tmp_path, monkeypatch, capsys):
    """A copy of the sweep, which a test may look at; and a function that runs a command there."""
    shutil.copytree(swept.folder, tmp_path / "copy", symlinks=True, dirs_exist_ok=True)
    monkeypatch.setenv("HOME", str(swept.folder / "home"))
    monkeypatch.chdir(tmp_path / "copy")

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.run(list(words))
        return (code, *capsys.readouterr())

    return run


def rows(query: str) -> list[tuple]:
    with open_results(Path("results.duckdb")) as db:
        return db.execute(query).fetchall()


def test_the_figures_are_those_of_the_model_on_instances_that_no_record_names(place):
    code, out, _ = place("confirm", "base/pruned/tuned", "--json")
    assert code == 0
    report = json.loads(out)
    figures = {each["metric"]: each for each in report["models"][0]["figures"] if not each["part"]}
    accuracy, base = _by_hand("base/pruned/tuned"), _by_hand("base")
    assert figures["accuracy"]["value"] == pytest.approx(accuracy.mean())
    assert figures["accuracy"]["base_change"] == pytest.approx(accuracy.mean() - base.mean())
    assert figures["accuracy"]["count"] == report["look"]["instances"] == len(accuracy)
    ((chosen,),) = rows("SELECT value FROM measurements WHERE model = 'base/pruned/tuned' AND metric = 'accuracy'")
    assert figures["accuracy"]["chosen_value"] == chosen
    assert report["look"]["among"] == 4
    classes = {
        each["part"]: each["count"] for each in report["models"][0]["figures"] if each["part"].startswith("class")
    }
    assert sum(classes.values()) == len(accuracy)
    ((recorded, part),) = rows(
        "SELECT value, change_low <= 0 FROM confirmations WHERE metric = 'accuracy' AND part = ''"
    )
    assert (recorded, part) == (figures["accuracy"]["value"], True)


def _by_hand(name: str) -> np.ndarray:
    """Right answers on the instances that are neither in the results nor in a split, by scikit-learn's own table."""
    import onnxruntime
    from sklearn.datasets import load_digits

    ((key,),) = rows(f"SELECT model_key FROM models WHERE name = '{name}'")
    store = Path(".bouillon/artifacts")
    manifests = [json.loads(file.read_text()) | {"folder": file.parent} for file in store.glob("**/manifest.json")]
    export = next(each["folder"] for each in manifests if each.get("what") == "export" and each.get("model") == key)
    data = open_dataset(ENTRY, Path("data"))
    known = {one for split in SPLITS for one in data.ids(split)}
    whole = open_dataset({**ENTRY, "confirmation": 0}, Path("data"))
    unread = [int(one.removeprefix("digit-")) for one in whole.ids("evaluation") if one not in known]
    table = load_digits()
    pictures = ((table.images[unread] / 16 - 0.305) / 0.376).astype(np.float32)[:, None]
    (file,) = export.glob("**/*.onnx")
    session = onnxruntime.InferenceSession(str(file))
    (logits,) = session.run(None, {session.get_inputs()[0].name: pictures})[:1]
    return logits.argmax(1) == table.target[unread]


def test_every_look_is_counted_and_its_meaning_said(place):
    _, first, _ = place("confirm", "base", "best")
    assert "among 4, confirmed at" in first
    assert "This was look" not in first
    _, second, _ = place("confirm", "base")
    assert "look 2 at the confirmation split of digits" in second
    assert "evaluation data like any other" in second
    _, third, _ = place("confirm", "base")
    assert "look 3" in third
    assert "nothing new was learnt" in third
    looks = rows("SELECT look, look_of_question, len(models) FROM confirmation_looks ORDER BY look")
    assert looks == [(1, 1, 2), (2, 1, 1), (3, 2, 1)]


def test_a_look_that_fails_counts(place, monkeypatch):
    def fail(*arguments, **words):
        raise DataError("the disk is gone")

    monkeypatch.setattr("pipeline.delivery.confirmation.confirm.open_confirmation", fail)
    assert place("confirm", "base")[0] == 2
    assert rows("SELECT look FROM confirmation_looks") == [(1,)]
    assert rows("SELECT * FROM confirmations") == []


def test_the_card_of_a_package_and_the_page_show_both_figures(place):
    place("confirm", "base/int8")
    place("package", "base/int8", "deployed")
    card = Path("deployed/MODEL_CARD.md").read_text()
    ((value, chosen),) = rows("SELECT value, chosen_value FROM confirmations WHERE metric = 'accuracy' AND part = ''")
    assert f"| accuracy | {chosen:.1%} | {value:.1%} |" in card
    results = load_results(Path("results.duckdb"))
    key = next(key for key in results.keys if results.forest[key].name == "base/int8")
    text = results.confirmed("accuracy", key)["text"]
    assert text.startswith(f"confirmed at {value:.1%} [")
    assert f"chosen at {chosen:.1%} among 4: within noise" in text
    assert results.confirmed("accuracy", results.forest[key].parent)["text"] == ""


def test_nothing_else_can_open_the_split(tmp_path):
    """By key: no split is called so, no id of it is known. By access: only a look that is written down opens it."""
    data = open_dataset(ENTRY, tmp_path)
    look = WrittenLook(data.fingerprint, "look")
    withheld = open_confirmation(ENTRY, tmp_path, look)
    one = withheld.ids("evaluation")[0]
    assert withheld.size("evaluation") == data.withheld
    assert withheld.size("train") == withheld.size("calibration") == 0
    assert withheld.fingerprint != data.fingerprint
    for read in (data.ids, data.size, data.labels, data.attributes):
        with pytest.raises(KeyError):
            read("confirmation")
    with pytest.raises(KeyError):
        next(data.batches("confirmation", batch_size=1))
    with pytest.raises(DataError, match="no instance"):
        data.show(one)
    with pytest.raises(KeyError):
        data.write_row(one, tmp_path)
    assert list(data.batches_of([one], batch_size=1)) == []
    with pytest.raises(DataError, match="is not what it was"):
        open_confirmation(ENTRY, tmp_path, WrittenLook("another", "look"))
    plain = {**ENTRY, "confirmation": 0}
    look = WrittenLook(open_dataset(plain, tmp_path).fingerprint, "look")
    with pytest.raises(DataError, match="has no confirmation split"):
        open_confirmation(plain, tmp_path, look)


def test_a_run_never_reads_what_is_set_aside(place, monkeypatch, tmp_path):
    """Every read of a row while a model is made and measured, and while a page is drawn, is of the three splits."""
    from pipeline.datasets.readers.image_arrays import ArrayReader

    withheld = set(
        open_confirmation(ENTRY, tmp_path, WrittenLook(open_dataset(ENTRY, tmp_path).fingerprint, "")).ids("evaluation")
    )
    whole = open_dataset({**ENTRY, "confirmation": 0}, tmp_path)
    forbidden = {int(one.removeprefix("digit-")) for one in whole.ids("evaluation")} & {
        int(one.removeprefix("digit-")) for one in withheld
    }
    assert len(forbidden) == len(withheld)
    seen: set[int] = set()
    read = ArrayReader.read
    monkeypatch.setattr(
        ArrayReader, "read", lambda own, at, noise: (seen.update(map(int, at)), read(own, at, noise))[1]
    )
    file = tmp_path / "one.yaml"
    file.write_text(
        "name: one\nmodel: digits_resnet\ndataset: digits\nevaluate:\n  noise: {corruption: gaussian_noise, severity: 3}\n"
        "  dark: {slice: {brightness: low}}\ntree: {base: {op: train, with: {epochs: 1}, then: {half: {op: magnitude_prune, "
        "with: {sparsity: 0.5}}}}}\n"
    )
    words = [f"recipe={file}", "bench=none", "executor=inprocess", "executor.threads=1", "dataset.confirmation=0.4"]
    code, out, err = place(*words, f"results={tmp_path / 'own.duckdb'}", f"workspace={tmp_path / 'own'}")
    assert code == 0, out + err
    assert len(seen) > 1000
    assert not seen & forbidden
    _check_sets(tmp_path / "own.duckdb")
    file.write_text(file.read_text().replace("severity: 3", "severity: 5"))
    code, _, err = place(*words, f"results={tmp_path / 'own.duckdb'}", f"workspace={tmp_path / 'own'}")
    assert code == 2
    assert "recipe.evaluate.noise: " in err
    assert "figures of another set by this name, {'corruption': 'gaussian_noise', 'severity': 3}" in err


def _check_sets(results: Path) -> None:
    """The figures on the evaluation sets of that recipe stand beside the others, and pair by instance."""
    with open_results(results) as db:
        figures = dict(
            db.execute(
                "SELECT metric, value FROM measurements WHERE model = 'base/half' AND metric LIKE 'accuracy%@%'"
            ).fetchall()
        )
        means = dict(
            db.execute(
                "SELECT metric, avg(value) FROM instance_values WHERE model = 'base/half' AND metric LIKE 'accuracy @%' GROUP BY 1"
            ).fetchall()
        )
    assert set(figures) == {"accuracy @ noise", "accuracy @ dark", "accuracy extra_loss @ noise"}
    assert means == pytest.approx({name: figures[name] for name in ("accuracy @ noise", "accuracy @ dark")})
    shown = load_results(results)
    key = next(key for key in shown.keys if shown.forest[key].name == "base/half")
    assert shown.difference_together("accuracy @ noise", key, shown.forest[key].parent) is not None
    assert named_best(shown, 1, "accuracy @ noise >= 0%")["models"]


def figure(part: str, change: float, half: float) -> ConfirmationFigure:
    nothing = dict.fromkeys(("base_key", "base_change", "base_change_low", "base_change_high"))
    ends = {"change": change, "change_low": change - half, "change_high": change + half}
    chosen = {"chosen_value": 0.9, "chosen_low": 0.8, "chosen_high": 0.95}
    return ConfirmationFigure("look", "m", "correct", part, 0.9 + change, 0.7, 0.95, 50, **chosen, **ends, **nothing)


def test_of_many_classes_one_barely_beyond_chance_is_chance():
    barely, clearly = figure("class a", -0.11, 0.1), figure("class b", -0.3, 0.1)  # 2.2 and 5.9 standard errors
    others = [figure(f"class {number}", 0.0, 0.1) for number in range(8)]
    within = parts_within_noise(ConfirmedModel("m", "m", (barely, clearly, *others)))
    assert [name for name, is_chance in within.items() if not is_chance] == ["class b"]
    assert parts_within_noise(ConfirmedModel("m", "m", (barely,))) == {"class a": False}
    assert parts_within_noise(ConfirmedModel("m", "m", (replace(barely, change_low=None),))) == {"class a": None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bas",), "No model is called 'bsae'"),
        (("base", "--target", "openvino"), "was not evaluated on 'openvino'"),
        (('best under "file_bytes <= 1 B"',), "No sound model has"),
    ],
)
def test_mistakes_are_one_line_and_no_look(place, words, message):
    words = tuple("bsae" if word == "bas" else word for word in words)
    code, _, err = place("confirm", *words)
    assert code == 2
    assert message in err
    assert rows("SELECT * FROM confirmation_looks") == []
