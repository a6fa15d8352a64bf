"""The heat map of sensitivity: what its cells and its details say."""

import pytest

from viewer.layers.damage_map import damage_maps
from viewer.layers.queries import LayerDamage
from viewer.session.state import LayersState

NUMBERS = {
    "score": 0.02, "kl": 0.01, "kl_se": 0.001, "loss": -0.001, "loss_se": 0.002, "flips": 0.03, "flips_se": 0.004,
    "weight_bytes": 0, "compressed_weight_bytes": 1500, "macs": 0, "saved_seconds": 2e-6, "saved_se": 1e-7,
    "before_seconds": 1e-5, "whole_seconds": None, "whole_se": None, "instances": 256,
}  # fmt: skip


def damage(layer, candidate, reason="", **numbers):
    return LayerDamage("m" * 64, candidate, layer, (layer,), {**NUMBERS, **numbers}, reason, "onnxruntime")


def drawn(rows, **state):
    return damage_maps(rows, ["m" * 64, "n" * 64], {"m" * 64: "base", "n" * 64: "other"}, LayersState(**state))


def test_cells_are_darker_by_powers_of_ten():
    rows = [damage("a", "x", kl=1.0), damage("a", "y", kl=0.01), damage("b", "x", kl=0.0), damage("b", "y", kl=1e-5)]
    [found] = drawn(rows)
    cells = {(layer, cell["text"]): cell["shade"] for layer, row in found["rows"] for cell in row}
    assert cells == {("a", "1"): 1.0, ("a", "0.01"): pytest.approx(0.5), ("b", "0"): 0.0, ("b", "1e-05"): 0.0}
    assert found["name"] == "base"
    assert found["candidates"] == ["x", "y"]


def test_what_was_not_measured_is_told_apart():
    rows = [
        damage("a", "x", kl=None, loss=None),
        damage("a", "y", "its weight is shared"),
        damage("b", "x", kl=None, loss=None, score=None),
    ]
    [found] = drawn(rows)
    (first, second), (third, none) = (row for _, row in found["rows"])
    assert (first["text"], first["error"]) == ("~0.02", "")
    assert (second["text"], second["shade"]) == ("does not go", None)
    assert second["label"] == "a, y: its weight is shared"
    assert (third["text"], third["shade"]) == ("not known", None)
    assert none is None


def test_a_click_opens_all_figures():
    rows = [damage("a", "x"), damage("b", "x")]
    [found] = drawn(rows)
    address = found["rows"][1][1][0]["address"]
    [opened] = drawn(rows, damage=address)
    assert [cell["open"] for _, row in opened["rows"] for cell in row] == [False, True]
    lines = dict(opened["details"]["lines"])
    assert opened["details"]["title"] == "b: x"
    assert lines["divergence, nats"] == "0.01 ± 0.001"
    assert lines["bytes fewer, compressed"] == "1,500"
    assert lines["µs less, by the layer's own time, on onnxruntime"] == "2.0 ± 0.1"
    assert not any("whole" in text for text in lines)


def test_the_filter_chooses_rows():
    rows = [damage("stem", "x"), damage("head", "x")]
    [found] = drawn(rows, filter="^he")
    assert [layer for layer, _ in found["rows"]] == ["head"]
    assert drawn(rows, filter="none") == []
