"""A package holds all that using a model takes, needs the runtime alone, and is refused where it would mislead."""

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.delivery.packaging import trial
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.store.errors import StoreError
from pipeline.store.queries.model_facts import Answer, model_facts
from pipeline.store.reader import open_results
from pipeline.store.records import run_records as records
from pipeline.store.writer import Store
from tests.pipeline.answer_stores import START

FILES = {
    "MODEL_CARD.md", "README.md", "config.json", "labels.json", "model.onnx", "predict.py", "provenance.json",
    "recipe.yaml", "requirements.txt", "settings.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Rows of scikit-learn's table as picture files, of 0 to 255."""
    from sklearn.datasets import load_digits

    folder, images = tmp_path_factory.mktemp("pictures"), load_digits().images

    def save(row: int) -> Path:
        file = folder / f"{row}.png"
        Image.fromarray((images[row] * 255 // 16).astype(np.uint8)).save(file)
        return file

    return save


def test_a_package_has_everything(packaged):
    assert {file.name for file in packaged.iterdir()} == FILES
    provenance = json.loads((packaged / "provenance.json").read_text())
    for name in FILES - {"provenance.json"}:
        assert provenance["files"][name] == sha256((packaged / name).read_bytes()).hexdigest()
    assert provenance["run"]["versions"]["onnxruntime"]
    assert re.fullmatch("[0-9a-f]{64}", provenance["data"]["fingerprint"])
    assert [each["path"] for each in provenance["lineage"]] == ["base", "base/int8"]
    assert json.loads((packaged / "labels.json").read_text()) == [str(digit) for digit in range(10)]
    assert json.loads((packaged / "config.json").read_text())["id2label"]["7"] == "7"
    assert len((packaged / "predict.py").read_text().splitlines()) < 60
    names = [line.partition("==")[0] for line in (packaged / "requirements.txt").read_text().splitlines()]
    assert names == ["numpy", "onnxruntime", "pillow"]


def test_the_program_answers_as_the_results_say_with_the_runtime_alone(swept, packaged, pictures, runtime_alone):
    expected = swept.sql(
        "SELECT instance_id, predicted, confidence FROM predictions WHERE model = 'base/int8' ORDER BY position LIMIT 100"
    )
    files = [pictures(int(name.removeprefix("digit-"))) for name, _, _ in expected]
    done = runtime_alone(packaged, *map(str, files))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["answer"] for answer in answers] == [predicted for _, predicted, _ in expected]
    confidences = [answer["probability"] for answer in answers]
    assert confidences == pytest.approx([confidence for _, _, confidence in expected], abs=1e-3)
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)


def test_rows_come_as_json_too(packaged, pictures, runtime_alone):
    rows = "".join(json.dumps({"image": str(pictures(row))}) + "\n" for row in range(3))
    done = runtime_alone(packaged, rows=rows)
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "rows", "message"),
    [
        (["nowhere.png"], "", r"predict.py: FileNotFoundError: .*'nowhere.png'. A row has image"),
        ([], '{"picture": "x.png"}\n', r"predict.py: KeyError: 'image'. A row has image"),
        ([], "no json\n", r"predict.py: JSONDecodeError: .*. A row has image"),
        ([], "[1]\n", r"predict.py: TypeError: .*. A row has image"),
        (["settings.json"], "", r"predict.py: UnidentifiedImageError: .*. A row has image"),
    ],
)
def test_a_wrong_row_is_one_line(packaged, runtime_alone, words, rows, message):
    done = runtime_alone(packaged, *words, rows=rows)
    assert done.returncode == 1
    assert re.fullmatch(message, done.stderr.strip())


def test_a_picture_of_another_size_is_refused(packaged, runtime_alone, tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "large.png")
    done = runtime_alone(packaged, str(tmp_path / "large.png"))
    assert "large.png has (28, 28) pixels, not (8, 8)" in done.stderr


@pytest.mark.parametrize("name", ["model.onnx", "settings.json", "labels.json", "predict.py"])
def test_a_changed_file_is_refused(packaged, pictures, runtime_alone, tmp_path, name, call):
    copy = shutil.copytree(packaged, tmp_path / "copy")
    with (copy / name).open("ab") as file:
        file.write(b"\n")
    done = runtime_alone(copy, str(pictures(0)))
    line = f"{copy / name}: is not the file that was packaged (by its sha256). Get the package anew"
    assert (done.returncode, done.stderr.strip()) == (1, line)
    assert call("reproduce", str(copy)) == (2, "", f"error: {line}\n")


def test_the_recipe_is_this_branch_alone_and_runs(packaged, call):
    recipe = yaml.safe_load((packaged / "recipe.yaml").read_text())
    assert list(recipe["tree"]) == ["base"]
    assert list(recipe["tree"]["base"]["then"]) == ["int8"]
    assert recipe["tree"]["base"]["with"]["model"]["builder"] == "residual_cnn"
    assert recipe["dataset"]["dataset"] == "digits"
    code, told, said = call(f"recipe={packaged / 'recipe.yaml'}", "plan_only=true")
    assert code == 0, said
    keys = json.loads((packaged / "provenance.json").read_text())["lineage"]
    assert all(each["key"][:6] in told for each in keys)


def test_the_card_says_what_was_measured_and_where_it_is_weak(packaged, swept):
    card = (packaged / "MODEL_CARD.md").read_text()
    ((accuracy, low, high),) = swept.sql(
        "SELECT value, low, high FROM measurements WHERE model = 'base/int8' AND metric = 'accuracy'"
    )
    assert f"| accuracy | {accuracy:.1%} | {low:.1%} to {high:.1%} |" in card
    ((worst, weakest),) = swept.sql(
        "SELECT class, accuracy FROM class_accuracy WHERE model = 'base/int8' ORDER BY accuracy, class LIMIT 1"
    )
    card = card[card.index("### By class") :]
    assert card.index(f"| {worst} |") == min(card.index(f"| {digit} |") for digit in range(10))
    assert f"{weakest:.1%}" in card
    assert (
        (packaged / "README.md").read_text().startswith("---\nlibrary_name: onnx\npipeline_tag: image-classification\n")
    )


def test_two_packages_of_one_model_are_the_same(packaged, tmp_path, call):
    assert call("package", "base/int8", str(tmp_path / "again"))[0] == 0
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (packaged / name).read_bytes()


def test_json_names_the_model_and_its_files(tmp_path, call):
    code, told, _ = call("package", "base", str(tmp_path / "base"), "--json")
    content = json.loads(told)
    assert (code, content["model"]["name"], content["compared"]) == (0, "base", 64)
    assert set(content["files"]) == FILES
    key = content["model"]["model_key"][:9]
    code, told, _ = call("package", key, str(tmp_path / "by key"), "--json", str(tmp_path / "made.json"))
    assert told.startswith("'base' is in ")
    assert json.loads((tmp_path / "made.json").read_text())["folder"] == str(tmp_path / "by key")


def test_tools_of_hugging_face_load_a_package(packaged, pictures, runtime_alone):
    """Optimum is no requirement of ours: this is tried where it is installed."""
    runtime = pytest.importorskip("optimum.onnxruntime")
    import torch

    model = runtime.ORTModelForImageClassification.from_pretrained(packaged)
    settings = json.loads((packaged / "settings.json").read_text())
    levels = np.asarray(Image.open(pictures(0)), np.float32) / 255
    inputs = (levels - settings["mean"][0]) / settings["std"][0]
    answer = model(pixel_values=torch.from_numpy(inputs[None, None])).logits.argmax().item()
    expected = json.loads(runtime_alone(packaged, str(pictures(0))).stdout)["answer"]
    assert model.config.id2label[answer] == expected


# ---- choosing
def test_the_best_within_a_budget_is_packaged(tmp_path, call):
    code, told, said = call("package", 'best under "file_bytes <= 150 kB"', str(tmp_path / "small"))
    assert code == 0, said
    assert re.match(r"The best by accuracy: 'base/int8'\n'base/int8' is in ", told)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("file_bytes <= 1 kB", "No sound model has file bytes at most 1 kB. Nearest: 'base/int8', with file bytes 10"),
        ("acuracy >= 90%", "There is no metric 'acuracy'. Did you mean 'accuracy'?"),
        ("accuracy > 97", "accuracy is a share: 97 would be 9,700%; did you mean 97%?"),
    ],
)
def test_a_budget_that_nothing_meets_is_refused(tmp_path, budget, message, call):
    code, _, said = call("package", f"best under {budget}", str(tmp_path / "none"))
    assert code == 2
    assert said.startswith(f"error: {message}")
    assert not (tmp_path / "none").exists()


# ---- refusals
def test_a_folder_with_something_in_it_is_refused(tmp_path, call):
    (tmp_path / "note.txt").write_text("mine")
    line = f"error: {tmp_path}: the folder is not empty. Name another, or empty it first\n"
    assert call("package", "base", str(tmp_path)) == (2, "", line)
    file = tmp_path / "note.txt"
    assert call("package", "base", str(file)) == (2, "", f"error: {file}: is a file. Name a folder\n")
    assert file.read_text() == "mine"


def test_an_unknown_model_is_refused_with_the_nearest(tmp_path, call):
    code, _, said = call("package", "base/int9", str(tmp_path / "none"))
    assert (code, said) == (2, "error: No model is called 'base/int9' in these results. Did you mean 'base/int8'?\n")


def test_files_that_are_gone_are_asked_for(swept, tmp_path, call):
    copy = shutil.copytree(swept.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("package", "tmp"))
    shutil.rmtree(copy / ".bouillon" / "artifacts")
    (copy / ".bouillon" / "artifacts").mkdir()
    code, _, said = call(
        "package",
        "base",
        str(tmp_path / "none"),
        "--results",
        str(copy / "results.duckdb"),
        "--workspace",
        str(copy / ".bouillon"),
    )
    assert code == 2
    assert "'base' has no ONNX file in" in said
    assert said.count("\n") == 1


def model(classes="", **outputs):
    """What is asked of a model when answers are compared."""
    return SimpleNamespace(facts=SimpleNamespace(dataset=SimpleNamespace(classes=classes)), outputs=outputs)


def test_answers_are_compared_before_a_package_is_put_in_place():
    expected = Answer("i", "b", 0.6, (0.1, 0.6, 0.3))

    def agrees(answer, share, expected=expected):
        return trial._agrees(expected, {"answer": answer, "probability": share}, model("abc"))

    assert agrees("b", 0.6005)
    assert not agrees("b", 0.61)
    assert not agrees("c", 0.6)
    assert not agrees(None, None)
    assert agrees("c", 0.5, Answer("i", "b", 0.5, (0.0, 0.5, 0.4995)))  # as likely
    broken = Answer("i", "(not a number)", None, None)
    assert agrees(None, None, broken)
    assert not agrees("a", 0.9, broken)
    written = Answer("i", "fun", None, None)
    assert trial._agrees(written, {"answer": "fun"}, model())
    assert not trial._agrees(written, {"answer": "the fun"}, model())


def test_outputs_are_compared_where_a_task_says_nothing():
    expected, observed = Answer("i", "", None, None), {"tags": np.array([3.0, -1.0], np.float32)}
    assert trial._agrees(expected, {"outputs": {"tags": [3.001, -1.0]}}, model(i=observed))
    assert not trial._agrees(expected, {"outputs": {"tags": [3.1, -1.0]}}, model(i=observed))
    assert not trial._agrees(expected, {"outputs": {"logits": [3.0, -1.0]}}, model(i=observed))
    with pytest.raises(PackageError, match="what the model gave was removed from the workspace"):
        trial._agrees(expected, {"outputs": {"tags": [3.0, -1.0]}}, model())


def test_a_run_that_has_not_ended_is_not_packaged(tmp_path):
    """And neither is a model that failed, or that came from elsewhere."""
    store = Store(tmp_path / "results.duckdb")
    common = {"parent_key": None, "op": "train", "kind": "base", "params": {}}
    store.write([
        records.Run("run", "mine", {"dataset_key": "d"}, {}, {}, None, START),
        records.Model("k" * 64, None, "base", "", "mine", "train", 1, "base", "torch", {}),
        records.Step("run", "base", "operation", "k" * 64, outcome="done", **common),
        records.Model("e" * 64, None, "elsewhere", "", "mine", "train", 1, "base", "torch", {}),
        records.Step("run", "broken", "operation", "b" * 64, outcome="failed", error="told to fail", **common),
    ])  # fmt: skip
    store.publish()
    with open_results(tmp_path / "results.duckdb") as db:
        with pytest.raises(
            StoreError, match="The results of 'base' are not finished: run 'mine' is going on, or was stopped"
        ):
            model_facts(db, "base")
        with pytest.raises(StoreError, match="'elsewhere' was made by no run of this program"):
            model_facts(db, "elsewhere")
        with pytest.raises(StoreError, match=r"There is no model 'broken': its step failed \(told to fail\)"):
            model_facts(db, "broken")
    store.write([records.RunEnd("run", START, 0)])
    store.publish()
    store.close()
    with open_results(tmp_path / "results.duckdb") as db, pytest.raises(StoreError, match="'base' was not evaluated"):
        model_facts(db, "base")


def test_a_runtime_that_did_not_run_the_model_is_refused(call, tmp_path):
    code, _, said = call("package", "base", str(tmp_path / "none"), "--target", "openvino")
    assert (code, said.count("\n")) == (2, 1)
    assert "'base' was not evaluated on 'openvino'" in said
    assert "It was evaluated on onnxruntime" in said
