"""What pretrained models say of their inputs, against transformers' own processors on real pixels."""

import json
import re

import numpy as np
import pytest
import transformers
from PIL import Image

from pipeline.datasets.open import open_dataset
from pipeline.datasets.readers.settings import Picture
from pipeline.models.api import ModelError
from pipeline.models.preprocessing.picture_settings import PictureSettings, picture_settings
from pipeline.models.preprocessing.text_settings import text_settings
from pipeline.plan.recipe import parse
from pipeline.sweep.config import Config, ConfigError
from pipeline.sweep.preprocessing import merged_pictures, settle_preprocessing
from tests.pipeline.tokens import writing_tokenizer

MIDDLE = np.array([0.5, 0.5, 0.5])
SIZES = ((61, 47), (40, 40), (33, 90), (23, 31))
"""Width and height of pictures: wider and higher than the square, and smaller."""
SMALL = {"shortest_edge": 37}, {"height": 32, "width": 32}
PROCESSORS = [
    ("ViTImageProcessor", {"size": SMALL[1]}),
    ("ViTImageProcessor", {"size": SMALL[1], "resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}),
    ("ViTImageProcessor", {"size": SMALL[1], "do_normalize": False}),
    ("ViTImageProcessor", {"size": SMALL[1], "do_rescale": False, "do_normalize": False}),
    ("ViTImageProcessor", {"size": SMALL[1], "rescale_factor": 1 / 127.5}),
    ("ViTImageProcessor", {"do_resize": False, "do_center_crop": True, "crop_size": SMALL[1]}),
    ("CLIPImageProcessor", {"size": SMALL[0], "crop_size": SMALL[1]}),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 30}, "crop_size": {"height": 41, "width": 41}}),
    ("DeiTImageProcessor", {"size": {"height": 37, "width": 37}, "crop_size": SMALL[1]}),
    ("BeitImageProcessor", {"size": {"height": 37, "width": 37}, "crop_size": SMALL[1], "do_center_crop": True}),
    ("BitImageProcessor", {"size": SMALL[0], "crop_size": SMALL[1]}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    ("EfficientNetImageProcessor", {"size": SMALL[1]}),
    ("EfficientNetImageProcessor", {"size": SMALL[1], "rescale_factor": 1 / 127.5, "rescale_offset": True}),
    ("EfficientNetImageProcessor", {"size": SMALL[1], "include_top": False}),
    ("LevitImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": SMALL[1]}),
    ("MobileNetV1ImageProcessor", {"size": SMALL[0], "crop_size": SMALL[1]}),
    ("MobileNetV2ImageProcessor", {"size": SMALL[0], "crop_size": SMALL[1]}),
    ("MobileViTImageProcessor", {"size": SMALL[0], "crop_size": SMALL[1]}),
    ("PoolFormerImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": SMALL[1]}),
    ("PvtImageProcessor", {"size": SMALL[1]}),
    ("SegformerImageProcessor", {"size": SMALL[1]}),
    ("SiglipImageProcessor", {"size": SMALL[1]}),
]


def _pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in SIZES]


def _ours(values, picture):
    settings = Picture(**values)
    return settings.form().normalise(settings.geometry().cut(picture, MIDDLE)[None])[0]


def _folder(place, **written):
    place.mkdir(exist_ok=True)
    (place / "preprocessor_config.json").write_text(json.dumps(written))
    return {"name": "mine", "builder": "huggingface", "weights": str(place)}


@pytest.mark.parametrize(("name", "changes"), PROCESSORS, ids=lambda value: value if isinstance(value, str) else "")
def test_pictures_are_what_the_models_own_processor_gives(name, changes, tmp_path):
    processor = getattr(transformers, f"{name}Pil")(**changes)
    processor.save_pretrained(tmp_path)
    found = picture_settings({"builder": "huggingface", "weights": str(tmp_path)})
    for picture in _pictures():
        wanted = processor(picture, return_tensors="np")["pixel_values"][0]
        largest = max(1.0, np.abs(wanted).max())
        assert np.abs(_ours(found.values, picture) - wanted).max() < 1e-5 * largest


def test_what_old_files_leave_out_is_the_class_default(tmp_path):
    entry = _folder(
        tmp_path / "old",
        feature_extractor_type="ConvNextFeatureExtractor", do_normalize=True, do_resize=True, crop_pct=0.875,
        image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5], resample=3, size=224,
    )  # fmt: skip
    values = picture_settings(entry).values
    assert (values["size"], values["resize"], values["fit"], values["interpolation"]) == (224, 256, "crop", "bicubic")
    assert values["mean"] == [0.5] * 3


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 40}},
            "`size` is 40 x 32 pixels",
        ),
        (
            {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "do_center_crop": False},
            "differ",
        ),
        ({"image_processor_type": "ImageGPTImageProcessor"}, "'ImageGPT' prepares pictures in a way of its own"),
        ({"image_processor_type": "NoSuchProcessor"}, "cannot be used"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_name(written, message, tmp_path):
    with pytest.raises(ModelError, match=re.escape(message)) as found:
        picture_settings(_folder(tmp_path / "model", **written))
    assert "\n" not in str(found.value)


def _by_hand(picture, resize, size, mean, std, filtering, *, squash=False):
    """As torchvision does it: the longer side is cut off to whole pixels, the middle is rounded to the nearest."""
    width, height = picture.size
    if squash:
        width = height = resize
    else:
        width, height = (int(resize * side / min(picture.size)) for side in picture.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    cut = picture.resize((width, height), filtering).crop((left, top, left + size, top + size))
    levels = np.asarray(cut).transpose(2, 0, 1) / 255
    return (levels - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]


@pytest.mark.parametrize(("mode", "share", "resize"), [("center", 0.9, 35), ("squash", 0.95, 33), ("center", 1.0, 32)])
def test_pictures_are_what_timm_evaluates_on(mode, share, resize, tmp_path):
    config = {
        "input_size": [3, 32, 32], "crop_pct": share, "interpolation": "bicubic", "crop_mode": mode, "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet10t", "pretrained_cfg": config}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    entry = {"builder": "timm", "architecture": "resnet10t", "weights": str(tmp_path / "model.safetensors")}
    values = picture_settings(entry).values
    for picture in _pictures():
        wanted = _by_hand(picture, resize, 32, config["mean"], config["std"], Image.BICUBIC, squash=mode == "squash")
        assert np.abs(_ours(values, picture) - wanted).max() < 1e-5


def _settled(dataset, entry, tree=None):
    config = Config(recipe={}, model=entry, dataset=dataset)
    return settle_preprocessing(config, parse({"name": "r", "tree": tree or {"base": {"op": "load"}}}), {"model": {}})


def _write_pictures(root, count=8):
    for number, picture in enumerate(_pictures() * (count // 4)):
        folder = root / ("dark" if number % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number}.png")


VIT = {
    "image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3, "resample": 2,
}  # fmt: skip


def test_a_data_set_sees_what_the_model_was_made_for(tmp_path):
    _write_pictures(tmp_path / "pictures")
    entry = _folder(tmp_path / "model", **VIT)
    dataset = {"name": "mine", "dataset": "image_folder", "root": str(tmp_path / "pictures"), "evaluation_share": 0.5}
    prepared = _settled(dataset, entry)
    assert prepared.notes == [
        f"Pictures are prepared as {tmp_path}/model/preprocessor_config.json says: resized to 32 x 32 (bilinear); mean 0.5, "
        "deviation 0.5"
    ]
    data = open_dataset(prepared.config.dataset, tmp_path)
    processor = transformers.ViTImageProcessorPil.from_pretrained(tmp_path / "model")
    batch = next(iter(data.batches("evaluation", batch_size=8)))
    for name, pixels in zip(batch.ids, batch.inputs["pixel_values"], strict=True):
        with Image.open(tmp_path / "pictures" / name) as picture:
            wanted = processor(picture, return_tensors="np")["pixel_values"][0]
        assert np.abs(pixels - wanted).max() < 1e-5
    other = open_dataset({**dataset, "size": 32}, tmp_path)
    assert other.fingerprint != data.fingerprint


def test_a_table_of_pictures_takes_it_too(tmp_path):
    dataset = {
        "name": "t",
        "dataset": "table",
        "path": "x.csv",
        "task": "image-classification",
        "picture": {"flip": False},
    }
    settled = _settled(dataset, _folder(tmp_path / "model", **VIT)).config.dataset["picture"]
    assert (settled["size"], settled["fit"], settled["mean"], settled["flip"]) == (32, "squash", [0.5] * 3, False)


def test_a_mean_of_zero_is_a_mean():
    form = Picture(size=4, mean=0, std=1).form()
    assert (form.mean, form.std) == ((0, 0, 0), (1, 1, 1))


def test_what_the_entry_says_wins_and_is_said(tmp_path):
    own = PictureSettings("there", picture_settings(_folder(tmp_path / "model", **VIT)).values)
    settings, notes = merged_pictures({"size": 64, "mean": 0.25, "std": 0.5}, own)
    assert (settings["size"], settings["resize"], settings["fit"]) == (64, 64, "squash")
    assert settings["mean"] == 0.25
    assert notes == [
        "The entry's size 64 is taken, not the model's 32",
        "The entry's mean 0.25 is taken, not the model's 0.5",
    ]
    settings, notes = merged_pictures({"resize": 40}, own)  # which is of the shorter side
    assert (settings["resize"], settings["fit"], settings["size"]) == (40, "crop", 32)
    assert merged_pictures({"mean": [0.5, 0.5, 0.5]}, own)[1] == []


def test_settings_that_cannot_be_followed_must_be_given(tmp_path):
    entry = _folder(tmp_path / "model", image_processor_type="ImageGPTImageProcessor")
    dataset = {"name": "mine", "dataset": "image_folder", "root": str(tmp_path)}
    with pytest.raises(ConfigError, match="Set `size`, `resize`, `fit`, `mean` and `std`"):
        _settled(dataset, entry)
    given = {**dataset, "size": 32, "mean": 0.5, "std": 0.5}
    prepared = _settled(given, entry)
    assert prepared.config.dataset == given
    assert "is not followed" in prepared.notes[0]


def test_two_models_that_want_different_inputs_are_refused(tmp_path):
    first, second = _folder(tmp_path / "a", **VIT), _folder(tmp_path / "b", **{**VIT, "image_mean": [0.1] * 3})
    tree = {
        "a": {"op": "load", "with": {"model": {**first, "name": "a"}}},
        "b": {"op": "load", "with": {"model": {**second, "name": "b"}}},
    }
    dataset = {"name": "mine", "dataset": "image_folder", "root": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"models 'a' and 'b' were made for different inputs \(mean 0.5; mean 0.1\)"):
        _settled(dataset, first, tree)
    tree["b"]["with"]["model"] = {**first, "name": "b"}
    assert _settled(dataset, first, tree).config.dataset["mean"] == [0.5] * 3


def test_a_model_without_weights_decides_nothing(tmp_path):
    dataset = {"name": "mine", "dataset": "image_folder", "root": str(tmp_path)}
    prepared = _settled(dataset, {"name": "new", "builder": "huggingface", "architecture": "vit"})
    assert (prepared.config.dataset, prepared.notes) == (dataset, [])


def test_a_data_set_that_prepares_its_pictures_itself_says_so(tmp_path):
    prepared = _settled({"name": "cifar10", "dataset": "cifar10"}, _folder(tmp_path / "model", **VIT))
    assert prepared.config.dataset == {"name": "cifar10", "dataset": "cifar10"}
    assert "resized to 32 x 32 (bilinear); mean 0.5, deviation 0.5) is not taken" in prepared.notes[0]


def test_a_new_head_is_said_before_anything_runs(tmp_path):
    entry = {**_folder(tmp_path / "model", **VIT), "new_head": True}
    prepared = _settled({"name": "d", "dataset": "digits"}, entry)
    assert "Model 'mine' has `new_head: true`" in prepared.notes[0]


WORDS = ["good", "bad", "film", "very"]
TABLE = {"name": "t", "dataset": "table", "path": "x.csv", "task": "text-classification"}


def _text_model(place, *, tokenizer=True, **config):
    place.mkdir()
    if tokenizer:
        writing_tokenizer(place, WORDS)
    (place / "config.json").write_text(json.dumps({"model_type": "llama", "use_cache": True, **config}))
    return {"name": "mine", "builder": "huggingface", "weights": str(place)}


def test_texts_are_cut_and_padded_as_the_model_takes_them(tmp_path):
    entry = _text_model(tmp_path / "m", max_position_embeddings=48, pad_token_id=0)
    prepared = _settled(TABLE, entry)
    assert prepared.config.dataset["text"] == {"tokenizer": str(tmp_path / "m"), "max_length": 48, "padding": "longest"}
    assert len(prepared.notes) == 2
    explicit = _settled({**TABLE, "text": {"max_length": 16}}, entry)
    assert explicit.config.dataset["text"] == {"tokenizer": str(tmp_path / "m"), "max_length": 16}
    assert explicit.notes[0] == "Texts are cut off after 16 tokens, as the entry says; the model takes 48"


def test_texts_are_padded_to_the_longest(tmp_path):
    entry = _text_model(tmp_path / "m", max_position_embeddings=48, pad_token_id=0)
    rows = ["text,label", *(f"{'very ' * count}good film,{count % 2}" for count in range(12))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    prepared = _settled({**TABLE, "path": str(tmp_path / "t.csv")}, entry)
    data = open_dataset(prepared.config.dataset, tmp_path / "cache")
    assert data.inputs["input_ids"] == ("int64", (14,))  # eleven, two, and the end


@pytest.mark.parametrize(("kind", "pad", "longest"), [("roberta", 1, 512), ("mpnet", 1, 512), ("ibert", 0, 513)])
def test_the_limit_of_roberta_does_not_count_positions_before_the_first(kind, pad, longest, tmp_path):
    """transformers: a text of more tokens asks for a row that the table of positions does not have."""
    entry = _text_model(tmp_path / "m", model_type=kind, max_position_embeddings=514, pad_token_id=pad)
    assert text_settings(entry).longest == longest


def test_padding_that_the_model_does_not_know_is_that_of_the_tokenizer(tmp_path):
    prepared = _settled(TABLE, _text_model(tmp_path / "m", max_position_embeddings=48))
    assert prepared.config.model["config"] == {"pad_token_id": 0}
    assert any("which token is padding: it is 0" in note for note in prepared.notes)


def test_padding_that_differs_is_refused(tmp_path):
    entry = _text_model(tmp_path / "m", max_position_embeddings=48, pad_token_id=3)
    with pytest.raises(ConfigError, match=r"it takes token 3 for padding, and the tokenizer .* pads with 0"):
        _settled(TABLE, entry)
    _settled(TABLE, {**entry, "config": {"pad_token_id": 0}})


def test_another_tokenizer_than_the_models_own_is_said(tmp_path):
    entry = _text_model(tmp_path / "m", max_position_embeddings=48, pad_token_id=0)
    other = writing_tokenizer(tmp_path / "other", [*WORDS, "more"])
    prepared = _settled({**TABLE, "text": {"tokenizer": str(other)}}, entry)
    assert any(f"The entry's tokenizer {other} is taken" in note for note in prepared.notes)


def test_what_lies_beside_an_onnx_file_is_of_it(tmp_path):
    _folder(tmp_path / "m", **VIT)
    entry = {"name": "mine", "builder": "onnx", "path": str(tmp_path / "m/model.onnx")}
    (tmp_path / "m/model.onnx").write_bytes(b"")
    dataset = {"name": "d", "dataset": "image_folder", "root": "r"}
    assert _settled(dataset, entry, {"base": {"op": "load_onnx"}}).config.dataset["mean"] == [0.5] * 3


def test_a_text_model_as_onnx_brings_its_tokenizer(tmp_path):
    _text_model(tmp_path / "m", max_position_embeddings=48, pad_token_id=0)
    (tmp_path / "m/model.onnx").write_bytes(b"")
    entry = {"name": "mine", "builder": "onnx", "path": str(tmp_path / "m/model.onnx")}
    settled = _settled(TABLE, entry, {"base": {"op": "load_onnx"}})
    assert settled.config.dataset["text"] == {"tokenizer": str(tmp_path / "m"), "max_length": 48, "padding": "longest"}
