import pytest

from pipeline.store.interchange.d3 import to_d3, to_python
from pipeline.store.interchange.guess import better_of, operation_kind


@pytest.mark.parametrize(
    ("d3", "largest", "python", "example"),
    [
        (".2%", 1, ".2%", "12.35%"),
        ("+.1~%", 1, ".1%", "12.3%"),
        (".3~s", 1, ".3g", "0.123"),
        (".3~s", 1e6, ",.0f", "0"),
        (".2g", 1e6, ".2g", "0.12"),
        (".4", 1, ".4g", "0.1235"),
        ("00", 90, ".4g", "0.1235"),
        (None, 5, ".4g", "0.1235"),
        ("", 5e4, ",.0f", "0"),
        ("$,.2f", 5, ",.2f", "0.12"),
        ("d", 5, ".0f", "0"),
        (".2p", 1, ".0%", "12%"),
        (".3e", 1, ".3e", "1.235e-01"),
        ("f", 1, ".6f", "0.123457"),
        ("not a format!", 1, ".4g", "0.1235"),
    ],
)
def test_every_d3_format_becomes_one_that_python_takes(d3, largest, python, example):
    assert to_python(d3, largest) == python
    assert format(0.1234567, python) == example


@pytest.mark.parametrize("python", [".1%", ",.0f", ".3g", ".2f", "+.1e"])
def test_python_formats_are_d3_formats(python):
    assert to_d3(python) == python


def test_kinds_and_directions_are_read_off_names():
    kinds = {
        name: operation_kind(name, is_root=False)
        for name in ("gradient prune", "Quantize", "Retrain", "Restore", "merge")
    }
    assert kinds == {
        "gradient prune": "prune", "Quantize": "quantize", "Retrain": "finetune", "Restore": "restore", "merge": "other",
    }  # fmt: skip
    assert operation_kind("train", is_root=True) == "base"
    names = "Top-1 Accuracy", "F1", "ExactMatch", "Latency", "Model Size", "Sparsity", "Epochs", "Latency STD"
    assert [better_of(name) for name in names] == [
        "higher", "higher", "higher", "lower", "lower", "neither", "neither", "lower",
    ]  # fmt: skip
