"""timm and torchvision, which are optional: what they build where they are installed, and what is said where not."""

import importlib.util
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from pipeline.core.extras import install_command
from pipeline.models import storage
from pipeline.models.api import ModelError
from pipeline.models.build import build
from scripts.docs.guides import GUIDES
from tests.pipeline.models.conftest import PICTURES, entry

INSTALLED = {name: importlib.util.find_spec(name) is not None for name in ("timm", "torchvision")}
LARGER = replace(PICTURES, inputs={"pixel_values": ("float32", (3, 32, 32))})
SMALLEST = {"timm": "efficientnet_lite0", "torchvision": "shufflenet_v2_x0_5"}


@pytest.fixture(params=sorted(SMALLEST))
def library(request):
    return request.param


@pytest.fixture
def installed(library):
    if not INSTALLED[library]:
        pytest.skip(f"{library} is not installed")
    return library


def test_without_the_library_the_message_says_what_to_install(library):
    if INSTALLED[library]:
        pytest.skip(f"{library} is installed")
    with pytest.raises(
        ModelError,
        match=re.escape(
            f"Model 'mine': {library} models need the package `{library}`: pip install -c scripts/constraints.txt -e '.[{library}]'"
        ),
    ):
        build(entry(library, architecture="resnet18"), LARGER)


def test_a_network_with_the_datas_classes_is_built_and_stored(installed, tmp_path):
    model = build(entry(installed, architecture=SMALLEST[installed]), LARGER)
    storage.save(model, tmp_path)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(storage.load(tmp_path).module(pixels), model.module(pixels))
    assert model.module(pixels).shape == (2, 3)


def test_weights_in_a_file_are_loaded_and_other_heads_refused(installed, tmp_path, pretrained):
    conf = entry(installed, architecture=SMALLEST[installed], weights=str(tmp_path / "w.pt"))
    torch.save(build(conf, LARGER).module.state_dict(), tmp_path / "w.pt")
    loaded = build(conf, pretrained(LARGER)).module.state_dict()
    saved = torch.load(tmp_path / "w.pt", weights_only=True)
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    other = pretrained(replace(LARGER, classes=tuple("abcde")))
    with pytest.raises(ModelError, match=re.escape("there and [5, ")):
        build(conf, other)
    assert build({**conf, "new_head": True}, other).module(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_mistakes_are_explained(installed, pretrained):
    name = SMALLEST[installed]
    with pytest.raises(ModelError, match=re.escape(f"{installed} has no architecture '{name}x'. Did you mean '")):
        build(entry(installed, architecture=f"{name}x"), LARGER)
    with pytest.raises(ModelError, match=re.escape(f"{installed} cannot make '{name}': ")):
        build(entry(installed, architecture=name, config={"no_such_thing": 1}), LARGER)
    with pytest.raises(ModelError, match="there are no pretrained weights: set `weights` to a file"):
        build(entry(installed, architecture=name), pretrained(LARGER))


def test_published_weights_have_names(pretrained):
    if not INSTALLED["torchvision"]:
        pytest.skip("torchvision is not installed")
    conf = entry("torchvision", architecture="resnet50", weights="IMAGENET1K_V3")
    with pytest.raises(
        ModelError,
        match=r"torchvision publishes no 'IMAGENET1K_V3' of 'resnet50'. Did you mean 'IMAGENET1K_V\d'\? Known: ",
    ):
        build(conf, pretrained(LARGER))


def test_an_extra_leaves_the_pinned_torch_alone():
    """Every package of an extra is pinned, and the torchvision that they bring is the one built for the pinned torch."""
    root = Path(__file__).resolve().parents[3]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = (root / "scripts/constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    for name in ("timm", "torchvision", "datasets", "openvino"):
        for requirement in map(Requirement, extras[name]):
            assert requirement.specifier.contains(pinned[requirement.name]), requirement
    torch_minor, vision_minor = (int(pinned[name].split(".")[1]) for name in ("torch", "torchvision"))
    assert vision_minor == torch_minor + 15  # torchvision 0.15 came with torch 2.0, and each later one with the next
    for name in ("timm", "torchvision"):  # an unpinned one would bring the newest torch
        assert f"torchvision==0.{vision_minor}.*" in extras[name]


@pytest.mark.parametrize("extra", ["timm", "openvino", "datasets"])
def test_the_guide_gives_the_command_that_keeps_it(extra):
    assert any(install_command(extra) in guide.read_text() for guide in GUIDES)
