import re
from pathlib import Path

import pytest

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry, OnnxModel
from pipeline.models import storage
from tests.ops.digits import apply, context, exported, trained


def built(ctx, model):
    asked = []

    def build(entry, *, pretrained):
        asked.append((entry, pretrained))
        return model

    ctx.build = build
    return asked


def test_load_asks_for_pretrained_weights():
    ctx = context()
    asked = built(ctx, trained())
    assert apply("load", ctx, model={"name": "net", "builder": "x"}) is trained()
    assert asked == [({"name": "net", "builder": "x"}, True)]


def test_load_onnx_leaves_the_users_file_where_it_is():
    """It is copied once, with the weights that may lie beside it, when the result is stored."""
    ctx = context()
    before = exported().path.read_bytes()
    built(ctx, exported())
    result = apply("load_onnx", ctx, model={"name": "net", "builder": "onnx"})
    storage.save(result, Path(ctx.scratch))  # as the worker does
    copy = Path(ctx.scratch) / "model.onnx"
    assert copy.read_bytes() == before
    copy.write_bytes(b"")
    assert exported().path.read_bytes() == before


@pytest.mark.parametrize(
    ("op", "builder", "reason"),
    [
        ("load", "onnx", "model 'net' is an ONNX file; use `load_onnx`"),
        ("load_onnx", "huggingface", "model 'net' is no ONNX file; use `load`"),
        ("load", "huggingface", None),
        ("load_onnx", "onnx", None),
    ],
)
def test_the_wrong_root_is_refused_when_planned(op, builder, reason):
    assert OPERATIONS[op].refuse(Ancestry({"name": "net", "builder": builder}, "", ()), {}) == reason


def test_the_wrong_root_is_refused_when_run():
    ctx = context()
    built(ctx, exported())
    with pytest.raises(OperationError, match=re.escape("load: model 'net' is an ONNX file; use `load_onnx`")):
        apply("load", ctx, model={"name": "net", "builder": "x"})
    with pytest.raises(OperationError, match="train: model 'net' is an ONNX file, which cannot be trained"):
        apply("train", ctx, model={"name": "net", "builder": "x"})
    built(ctx, trained())
    with pytest.raises(OperationError, match=re.escape("load_onnx: model 'net' is a torch network; use `load`")):
        apply("load_onnx", ctx, model={"name": "net", "builder": "x"})
    assert isinstance(exported(), OnnxModel)
