"""Whoever makes a quantized model makes the one that the plan has decided on."""

import pytest

from ops.core.operation import Processor
from ops.quantize.methods import cpu_features
from tests.ops.digits import apply, context, exported


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_the_processor_of_the_worker_changes_nothing_but_a_warning(monkeypatch, tmp_path, method):
    """The plan has decided for the processor that it was made on; whoever makes the model makes the same one."""
    files, warnings = [], []
    for number, reduce_range in enumerate((False, True)):  # with VNNI, and without
        monkeypatch.setattr(cpu_features, "integer_arithmetic", lambda lacks=reduce_range: Processor("uint8", lacks))
        (tmp_path / str(number)).mkdir()
        ctx = context(tmp_path / str(number))
        model = apply(
            "quantize",
            exported(),
            ctx,
            method=method,
            samples=16,
            activations="uint8",
            reduce_range=False,
            include=["linear"],
        )
        files.append(model.path.read_bytes())
        warnings.append([text for text in ctx.notes.get("warnings", []) if "VNNI" in text])
    assert files[0] == files[1]
    assert [len(each) for each in warnings] == [0, 1]
    assert "The weights have 8 bits, as the plan says" in warnings[1][0]
