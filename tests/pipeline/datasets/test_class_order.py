"""Which output of a model is which class: what the entry, the model, the data and the training tools say."""

import json

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.api import DataError
from pipeline.datasets.class_order import lookalikes, order_of
from pipeline.models.class_names import class_names
from pipeline.sweep.class_agreement import agree_on_classes
from pipeline.sweep.config import Config, ConfigError
from pipeline.sweep.preflight import open_data


def classes_of(*labels, **words):
    return order_of(labels, setting=words.pop("setting", None), **words).classes


def test_folders_are_sorted_as_text():
    assert classes_of(*map(str, range(1, 13))) == ("1", "10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9")
    assert classes_of("b", "A", "a", "Z") == ("A", "Z", "a", "b")
    assert classes_of("01", "1", "001", "0") == ("0", "001", "01", "1")


def test_numbers_in_tables_are_sorted_by_value():
    assert classes_of("10", "9", "-1", numbers=True) == ("-1", "9", "10")
    assert classes_of("10.0", "9.0", numbers=True) == ("9.0", "10.0")
    order = order_of(["10", "9"], setting=None, numbers=True)
    assert order.numbers(["10", "9", "10"], ["", "", ""]) == [1, 0, 1]


@pytest.mark.parametrize("odd", ["--1", "²", "-", "1a", "01", "1.5", "True"])
def test_what_only_looks_like_a_number_is_a_text(odd):
    assert classes_of("10", "9", odd, numbers=True) == tuple(sorted(["10", "9", odd]))


def test_one_number_in_two_spellings_is_refused():
    with pytest.raises(DataError, match=r"'1' and '1.0' are one number written in two ways"):
        classes_of("1", "1.0", "2", numbers=True)


def test_what_the_entry_says_wins_over_the_data_and_names_each_class_once():
    assert classes_of("a", "b", setting=["b", "a", "c"], data=["a", "b"]) == ("b", "a", "c")
    assert classes_of("a", "b", data=["b", "c", "a"]) == ("b", "c", "a")
    with pytest.raises(DataError, match="classes: 'a' stands there twice"):
        classes_of("a", "b", setting=["a", "b", "a"])
    with pytest.raises(DataError, match=r"only one class \(a\): classification needs two"):
        classes_of("a", "a")
    with pytest.raises(DataError, match=r"row 2: 'c' is none of the classes. Known: a, b"):
        order_of(["a", "b"], setting=None).numbers(["a", "c"], ["row 1", "row 2"])


def test_class_names_that_are_easily_confused_are_said():
    assert lookalikes(["cat", "dog"]) == []
    (same,) = lookalikes(["Cat", "cat ", "dog"])
    assert same == "the classes 'Cat', 'cat ' differ only in case, spaces or hyphens, and count as different classes"
    assert lookalikes(["None", "some"]) == ["a class is called 'None', which often stands for no value"]


@pytest.fixture
def graded(tmp_path):
    """Twelve grades, each a level of grey, in folders 1 to 12."""
    for grade in range(1, 13):
        folder = tmp_path / "graded" / str(grade)
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), 20 * grade - 5 + number % 2).save(folder / f"{number}.png")
    return tmp_path / "graded"


def configured(root, tmp_path, model=None, **words):
    entry = {"dataset": "image_folder", "root": str(root), "size": 8, "resize": 8, "channels": 1, "mean": 0, "std": 1}
    return Config(recipe={}, model=model, dataset={**entry, **words}, data_folder=tmp_path / "cache")


def agreed(config):
    config, data, notes = agree_on_classes(config, open_data(config))
    return config, data, notes


def test_weights_trained_on_numbered_folders_find_their_classes_and_the_guess_is_said(graded, tmp_path):
    import torch

    order = sorted(map(str, range(1, 13)))  # as ImageFolder and `datasets` number folders
    means = torch.tensor([(20 * int(name) - 5) / 255 for name in order])
    _, data, notes = agreed(
        configured(graded, tmp_path, {"builder": "python", "factory": "grades:make", "weights": "grades.pt"})
    )
    right = total = 0
    for batch in data.batches("evaluation", batch_size=64):
        levels = torch.from_numpy(batch.inputs["pixel_values"]).mean((1, 2, 3))
        right += int((np.asarray((levels[:, None] * means - means**2 / 2).argmax(1)) == batch.targets["labels"]).sum())
        total += len(batch)
    assert total > 5
    assert right == total
    (note,) = notes
    assert note.startswith(
        "12 classes, sorted as text, as torchvision's ImageFolder and `datasets` number them: 1, 10, 11, 12, 2"
    )
    assert "set `classes` of the data set" in note


def test_an_order_that_the_entry_says_is_no_guess(graded, tmp_path):
    classes = list(map(str, range(1, 13)))
    _, data, notes = agreed(configured(graded, tmp_path, {"builder": "python"}, classes=classes))
    assert data.classes == tuple(classes)
    assert notes == ()
    assert data.fingerprint != open_data(configured(graded, tmp_path)).fingerprint


@pytest.fixture
def named(tmp_path):
    """Pictures of three kinds, and a function that writes a model's folder with class names."""
    for kind in ("amber", "coral reef", "ivory"):
        (tmp_path / "named" / kind).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), number).save(tmp_path / "named" / kind / f"{number}.png")

    def model(*names, **words):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "config.json").write_text(json.dumps({"id2label": dict(enumerate(names))}))
        return configured(
            tmp_path / "named", tmp_path, {"builder": "huggingface", "weights": str(tmp_path / "model"), **words}
        )

    return model


def test_the_models_own_names_decide_whatever_their_spelling(named):
    config, data, notes = agreed(named("Coral_Reef", "IVORY", "amber"))
    assert data.classes == ("coral reef", "ivory", "amber")
    assert config.dataset["classes"] == ["coral reef", "ivory", "amber"]
    assert open_data(config).fingerprint == data.fingerprint
    assert notes == ("3 classes in the order of the model's own names: coral reef, ivory, amber",)
    numbers = {label: number for batch in data.batches("train", batch_size=99) for label, number in
               zip((one.partition("/")[0] for one in batch.ids), batch.targets["labels"].tolist(), strict=True)}  # fmt: skip
    assert numbers == {"coral reef": 0, "ivory": 1, "amber": 2}


def test_an_order_of_the_entry_that_the_model_contradicts_is_refused(named):
    config = named("amber", "coral reef", "ivory")

    def with_classes(*names):
        return agreed(config.model_copy(update={"dataset": {**config.dataset, "classes": list(names)}}))

    with pytest.raises(
        ConfigError, match="`classes` says that 'coral reef' is class 0, but the model calls its class 1 so"
    ):
        with_classes("coral reef", "amber", "ivory")
    assert with_classes("amber", "coral reef", "ivory")[2] == ()


def test_data_of_some_of_the_models_classes_are_judged_by_all_of_its_outputs(named):
    _, data, _ = agreed(named("ivory, the colour", "tench, Tinca tinca", "amber", "coral reef"))
    assert data.classes == ("ivory", "tench, Tinca tinca", "amber", "coral reef")
    assert set(data.labels("train")) == {"amber", "coral reef", "ivory"}
    assert data.size("train") + data.size("calibration") + data.size("evaluation") == 18


def test_names_in_the_same_order_change_nothing(named):
    config = named("amber", "coral reef", "ivory")
    assert agreed(config)[0] is config
    assert agreed(config)[2] == ()


def test_names_that_agree_in_part_are_refused(named):
    with pytest.raises(
        ConfigError, match=r"the model has no class 'coral reef' \(it has amber, jade, ivory\), though it has 'amber'"
    ):
        agreed(named("amber", "jade", "ivory"))
    with pytest.raises(ConfigError, match="the class 'ivory' may be 'Ivory' or 'IVORY' of the model"):
        agreed(named("Ivory", "IVORY", "amber", "coral reef"))
    assert agreed(named("amber", "jade", "ivory", new_head=True))[2] == ()


def test_names_that_have_nothing_in_common_go_by_place_and_that_is_said(named):
    _, data, (note,) = agreed(named("x", "y", "z"))
    assert data.classes == ("amber", "coral reef", "ivory")
    assert note.startswith(
        "none of the data's class names is the model's: they go together by place (x = amber, y = coral reef, z"
    )


def test_a_model_whose_names_are_numbers_of_labels_has_none(named, tmp_path):
    config = named("LABEL_0", "LABEL_1", "LABEL_2")
    assert class_names(config.model, tmp_path) is None
    assert agreed(config)[2][0].startswith("3 classes, sorted as text")


@pytest.mark.parametrize(
    ("key", "value"), [("names", "{1: 'b', 0: 'a'}"), ("id2label", '{"0": "a", "1": "b"}'), ("classes", '["a", "b"]')]
)
def test_names_in_the_metadata_of_an_onnx_file_are_the_models(key, value, tmp_path):
    import onnx

    value_info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value_info],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])])  # fmt: skip
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {key: value, "author": "somebody"})
    onnx.save(model, str(tmp_path / "model.onnx"))
    assert class_names({"builder": "onnx", "path": str(tmp_path / "model.onnx")}, tmp_path) == ("a", "b")
    assert class_names({"builder": "onnx", "path": str(tmp_path / "nowhere.onnx")}, tmp_path) is None
