"""Networks of transformers: from a configuration, from a folder, and what is said when they do not fit."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch

from ops.core.forward import forward
from ops.core.operation import TorchModel
from pipeline.models import storage
from pipeline.models.api import ModelError
from pipeline.models.build import build
from tests.pipeline.models.conftest import BERT, PICTURES, QUESTIONS, RESNET, TEXTS, entry
from tests.pipeline.models.test_weights import Bomb


@pytest.fixture
def saved_resnet(tmp_path):
    """A folder of safetensors with the classes of PICTURES, and the network."""
    model = build(entry("huggingface", architecture="resnet", config=RESNET), PICTURES)
    for part in model.module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_()
    model.module.save_pretrained(tmp_path / "resnet")
    return tmp_path / "resnet", model.module


@pytest.fixture
def saved_bert(tmp_path):
    """A folder of a BERT without any head."""
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(**BERT))
    model.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert", model


def _edit(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_saved_model_is_loaded_as_it_was(saved_resnet, pretrained):
    folder, module = saved_resnet
    loaded = build(entry("huggingface", weights=str(folder)), pretrained(PICTURES))
    pixels = torch.randn(2, 3, 8, 8)
    assert torch.equal(loaded.module(pixels).logits, module.eval()(pixels).logits)


def test_what_was_loaded_can_be_built_again_without_the_folder(saved_resnet, pretrained, tmp_path):
    folder, _ = saved_resnet
    loaded = build(entry("huggingface", weights=str(folder), name="kept"), pretrained(PICTURES))
    assert str(folder) not in json.dumps(loaded.architecture.arguments)
    storage.save(loaded, tmp_path)
    shutil.rmtree(folder)
    pixels = torch.randn(2, 3, 8, 8)
    assert torch.equal(storage.load(tmp_path).module(pixels).logits, loaded.module(pixels).logits)


def test_training_from_an_entry_with_weights_starts_from_its_architecture_alone(saved_resnet):
    folder, module = saved_resnet
    fresh = build(entry("huggingface", weights=str(folder)), PICTURES).module
    assert fresh.config.hidden_sizes == module.config.hidden_sizes
    name = "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"
    assert not torch.equal(fresh.state_dict()[name], module.state_dict()[name])


def test_a_head_for_other_classes_is_only_replaced_when_asked(saved_resnet, pretrained):
    folder, module = saved_resnet
    need = pretrained(replace(PICTURES, classes=tuple("abcde")))
    message = (
        f"Model 'mine': {folder}: the weights do not fit: 'classifier.1.bias' is [3] there and [5] here; "
        "'classifier.1.weight' is [3, 16] there and [5, 16] here. `new_head: true` starts the head anew"
    )
    with pytest.raises(ModelError, match=re.escape(message)):
        build(entry("huggingface", weights=str(folder)), need)
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(build(entry("huggingface", weights=str(folder), new_head=True), need).module)
    assert made[0](torch.randn(2, 3, 8, 8)).logits.shape == (2, 5)
    body = "resnet.embedder.embedder.convolution.weight"
    assert torch.equal(made[0].state_dict()[body], module.state_dict()[body])
    heads = [one.state_dict()["classifier.1.weight"] for one in made]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_body_without_a_head_needs_a_new_one(saved_bert, pretrained):
    folder, body = saved_bert
    with pytest.raises(
        ModelError, match=re.escape("'classifier.bias' [2] is not there; 'classifier.weight' [2, 16] is not there")
    ):
        build(entry("huggingface", weights=str(folder)), pretrained(TEXTS))
    for need in (TEXTS, QUESTIONS):
        model = build(entry("huggingface", weights=str(folder), new_head=True), pretrained(need))
        inputs = {name: torch.ones(2, 12, dtype=torch.int64) for name in need.inputs}
        assert all(len(output) == 2 for output in forward(model.module, inputs, need.task).values())
        assert torch.equal(model.module.bert.embeddings.word_embeddings.weight, body.embeddings.word_embeddings.weight)
        pooler = ["pooler.dense.bias", "pooler.dense.weight"]  # question answering has none
        assert model.notes.get("weights_left_out", []) == (pooler if need is QUESTIONS else [])


def test_other_sizes_of_the_body_are_refused_even_with_a_new_head(saved_bert, pretrained):
    folder, _ = saved_bert
    message = r"fit: 'encoder.layer.1.*has no place here.* Give the data the size of the weights .*leave `config` as it is there"
    with pytest.raises(ModelError, match=message):
        build(
            entry("huggingface", weights=str(folder), config={"num_hidden_layers": 1}, new_head=True), pretrained(TEXTS)
        )


def test_pictures_of_another_size_are_refused_where_the_weights_depend_on_it(tmp_path, pretrained):
    config = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "patch_size": 4,
    }
    build(entry("huggingface", architecture="vit", config=config), PICTURES).module.save_pretrained(tmp_path / "vit")
    large = pretrained(replace(PICTURES, inputs={"pixel_values": ("float32", (3, 16, 16))}))
    with pytest.raises(
        ModelError, match=r"'vit.embeddings.position_embeddings' is \[1, 5, 16\] there and \[1, 17, 16\] here"
    ):
        build(entry("huggingface", weights=str(tmp_path / "vit")), large)


def test_the_same_classes_in_another_order_are_refused(saved_resnet, pretrained):
    folder, _ = saved_resnet
    swapped = pretrained(replace(PICTURES, classes=("dog", "cat", "emu")))
    with pytest.raises(
        ModelError, match=re.escape("the weights' class 0 is 'cat', the data's is 'dog': the same classes in another")
    ):
        build(entry("huggingface", weights=str(folder)), swapped)
    renamed = pretrained(replace(PICTURES, classes=("n01", "n02", "n03")))
    build(entry("huggingface", weights=str(folder)), renamed)


def test_classes_that_the_weights_name_twice_are_no_other_order(saved_resnet, pretrained):
    folder, _ = saved_resnet
    _edit(folder, id2label={"0": "cat", "1": "Cat", "2": "dog"})
    with pytest.raises(ModelError, match=r"'classifier.1.bias' is \[3\] there and \[2\] here"):
        build(entry("huggingface", weights=str(folder)), pretrained(replace(PICTURES, classes=("cat", "dog"))))


def test_pickles_are_refused_and_tensors_in_a_bin_file_are_not(saved_resnet, pretrained, tmp_path):
    folder, module = saved_resnet
    (folder / "model.safetensors").unlink()
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    loaded = build(entry("huggingface", weights=str(folder)), pretrained(PICTURES)).module
    assert torch.equal(loaded.classifier[1].weight, module.classifier[1].weight)
    torch.save({**module.state_dict(), "bomb": Bomb(tmp_path / "written")}, folder / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=re.escape(f"{folder}: the weights cannot be read: they are pickled Python objects, which")
    ):
        build(entry("huggingface", weights=str(folder)), pretrained(PICTURES))
    assert not (tmp_path / "written").exists()


def test_code_in_a_folder_is_not_run(saved_resnet, pretrained, tmp_path):
    folder, _ = saved_resnet
    (folder / "custom.py").write_text(f"open({str(tmp_path / 'written')!r}, 'w')\nclass Config: pass\n")
    _edit(folder, model_type="my_own_type", auto_map={"AutoConfig": "custom.Config"})
    with pytest.raises(ModelError, match=re.escape(f"{folder / 'config.json'}: cannot be used (")):
        build(entry("huggingface", weights=str(folder)), pretrained(PICTURES))
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", lambda whole: whole[:-20], "the weights cannot be read ("),
        ("config.json", lambda whole: whole[:50], "config.json: cannot be used ("),
        ("config.json", lambda whole: b"{}", "config.json: cannot be used ("),
    ],
)
def test_damaged_folders_are_named(saved_resnet, pretrained, name, damage, message):
    folder, _ = saved_resnet
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(ModelError, match=rf"Model 'mine': {re.escape(str(folder))}.*{re.escape(message)}"):
        build(entry("huggingface", weights=str(folder)), pretrained(PICTURES))


def test_a_folder_without_weights_is_named(saved_resnet, pretrained):
    folder, _ = saved_resnet
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ModelError, match=re.escape(f"weights: {folder}: the folder holds none of config.json, *.safetensors")
    ):
        build(entry("huggingface", weights=str(folder)), pretrained(PICTURES))


def test_a_hub_id_that_is_not_here_is_explained_offline(pretrained, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = (
        "weights: 'nobody/nothing' is neither a folder nor in the local Hugging Face cache, and HF_HUB_OFFLINE is set"
    )
    with pytest.raises(ModelError, match=re.escape(f"Model 'mine': {message}")):
        build(entry("huggingface", weights="nobody/nothing"), pretrained(PICTURES))
    with pytest.raises(ModelError, match=re.escape("weights: ./nothing: there is no such folder")):
        build(entry("huggingface", weights="./nothing"), pretrained(PICTURES))


def test_a_repository_in_the_local_cache_is_found_offline(saved_resnet, pretrained, monkeypatch, tmp_path):
    from huggingface_hub import constants

    folder, module = saved_resnet
    snapshot = tmp_path / "hub" / "models--me--resnet" / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    loaded = build(entry("huggingface", weights="me/resnet"), pretrained(PICTURES)).module
    assert torch.equal(loaded.classifier[1].weight, module.classifier[1].weight)


def test_a_file_of_tensors_with_other_names_fits_by_order(tmp_path, pretrained):
    module = build(entry("huggingface", architecture="resnet", config=RESNET), PICTURES).module
    torch.save(
        {f"layer{row}": tensor for row, tensor in enumerate(module.state_dict().values()) if tensor.ndim},
        tmp_path / "w.pt",
    )
    conf = entry("huggingface", architecture="resnet", config=RESNET, weights=str(tmp_path / "w.pt"), match="order")
    loaded = build(conf, pretrained(PICTURES)).module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "need", "message"),
    [
        ({}, PICTURES, "set `architecture` (a model type such as resnet) or `weights` (a folder or hub id)"),
        ({"architecture": "resnett"}, PICTURES, "transformers has no architecture 'resnett'. Did you mean 'resnet'?"),
        (
            {"architecture": "bert"},
            PICTURES,
            "architecture 'bert' for image-classification (Unrecognized configuration class",
        ),
        (
            {"architecture": "resnet", "config": {"dephts": [1]}},
            PICTURES,
            "config: 'resnet' has no 'dephts'. Did you mean 'depths'?",
        ),
        ({"architecture": "resnet", "config": {"depths": "one"}}, PICTURES, "config of 'resnet' ("),
        (
            {"architecture": "resnet", "config": {"num_channels": 1}},
            PICTURES,
            "config: num_channels is 1, but the pictures have 3",
        ),
        (
            {"architecture": "vit", "config": {"image_size": 224}},
            PICTURES,
            "config: image_size is 224, but the pictures have 8",
        ),
        (
            {"architecture": "bert", "config": {**BERT, "max_position_embeddings": 8}},
            TEXTS,
            "the data has 12 tokens, the model takes 8",
        ),
    ],
)
def test_what_cannot_be_built_is_explained(arguments, need, message):
    with pytest.raises(ModelError, match=re.escape(f"Model 'mine': {message}")):
        build(entry("huggingface", **arguments), need)


def test_a_model_without_a_limit_takes_texts_of_any_length():
    """XLNet's configuration says -1 positions."""
    config = {"vocab_size": 30, "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}
    assert isinstance(build(entry("huggingface", architecture="xlnet", config=config), TEXTS), TorchModel)


def test_an_architecture_that_contradicts_the_folder_is_refused(saved_resnet, pretrained):
    folder, _ = saved_resnet
    with pytest.raises(
        ModelError, match=re.escape(f"{folder}: the weights are of architecture 'resnet', not 'vit'; leave")
    ):
        build(entry("huggingface", architecture="vit", weights=str(folder)), pretrained(PICTURES))


def test_an_input_that_the_network_does_not_take_is_refused():
    config = {"vocab_size": 30, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 16}
    with pytest.raises(
        ModelError, match=re.escape("takes no token_type_ids; set `text.token_type_ids: false` in the data set")
    ):
        build(entry("huggingface", architecture="distilbert", config=config), TEXTS)
    two = {name: shape for name, shape in TEXTS.inputs.items() if name != "token_type_ids"}
    build(entry("huggingface", architecture="distilbert", config=config), replace(TEXTS, inputs=two))


def test_mixed_precision_weights_come_as_float32(saved_resnet, pretrained):
    folder, module = saved_resnet
    module.half().save_pretrained(folder)
    loaded = build(entry("huggingface", weights=str(folder)), pretrained(PICTURES)).module
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_the_momentum_of_batch_norm_outlives_a_reload(tmp_path):
    model = build(entry("huggingface", architecture="resnet", config=RESNET, batch_norm_momentum=0.3), PICTURES)
    storage.save(model, tmp_path)
    norms = [part for part in storage.load(tmp_path).module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    assert {norm.momentum for norm in norms} == {0.3}


def test_a_momentum_out_of_range_is_refused():
    with pytest.raises(ModelError, match="above 0 and below 1, not 1"):
        build(entry("huggingface", architecture="resnet", config=RESNET, batch_norm_momentum=1), PICTURES)


@pytest.mark.parametrize("architecture", ["deit", "levit"])
def test_a_model_type_with_several_classifiers_is_built_and_stored(architecture, tmp_path):
    sizes = {
        "deit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 4},
        "levit": {"hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1], "key_dim": [4, 4, 4]},
    }[architecture]  # fmt: skip
    need = replace(PICTURES, inputs={"pixel_values": ("float32", (3, 32, 32))})
    model = build(entry("huggingface", architecture=architecture, config=sizes), need)
    assert not type(model.module).__name__.endswith("WithTeacher")
    storage.save(model, tmp_path)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(storage.load(tmp_path).module(pixels).logits, model.module(pixels).logits)


def test_the_classifier_that_a_folder_names_is_the_one_that_is_stored(pretrained, tmp_path):
    from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher

    config = DeiTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4,
        num_labels=3, id2label=dict(enumerate(PICTURES.classes)),
    )  # fmt: skip
    theirs = DeiTForImageClassificationWithTeacher(config).eval()
    theirs.save_pretrained(tmp_path / "deit")
    loaded = build(entry("huggingface", weights=str(tmp_path / "deit")), pretrained(PICTURES))
    (tmp_path / "stored").mkdir()
    storage.save(loaded, tmp_path / "stored")
    pixels = torch.randn(2, 3, 8, 8)
    expected = theirs(pixels).logits
    assert torch.equal(loaded.module(pixels).logits, expected)
    assert torch.equal(storage.load(tmp_path / "stored").module(pixels).logits, expected)
