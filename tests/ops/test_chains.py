"""Operations in any order: what is not refused when planned runs, keeps its zeros, and reloads."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry, Format, OnnxModel, TorchModel
from pipeline.models import storage
from pipeline.models.onnx_export import export_onnx
from tests.ops.apply import copy_of, outputs, snapshot
from tests.ops.context import NETS, digits, make_context
from tests.ops.stored import base

SHARE = st.sampled_from([0.1, 0.25, 0.5, 0.7])
FEW = st.just(24)
STEPS = {
    "magnitude_prune": {"sparsity": SHARE, "scope": st.sampled_from(["global", "layer"])},
    "gradient_prune": {"sparsity": SHARE, "samples": FEW, "scope": st.just("layer")},
    "activation_prune": {"sparsity": SHARE, "samples": FEW, "method": st.sampled_from(["wanda", "sparsegpt"])},
    "nm_prune": {"score": st.sampled_from(["magnitude", "wanda"]), "samples": FEW},
    "channel_prune": {"ratio": st.sampled_from([0.25, 0.5]), "round_to": st.sampled_from([1, 4])},
    "factorize": {"ratio": st.sampled_from([0.5, 0.8])},
    "palettize": {"bits": st.sampled_from([2, 4])},
    "calibrate": {"samples": FEW, "method": st.sampled_from(["batch_norm", "bias_correction", "reconstruct"])},
    "finetune": {"samples": FEW, "batch_size": st.just(12)},
    "restore": {"include": st.just(["norm"])},
    "smooth": {"samples": FEW},
}
CHAINS = st.lists(
    st.sampled_from(sorted(STEPS)).flatmap(lambda op: st.tuples(st.just(op), st.fixed_dictionaries(STEPS[op]))),
    min_size=1,
    max_size=4,
)


def test_every_operation_on_torch_models_takes_part():
    assert set(STEPS) == {
        name
        for name in OPERATIONS
        if (spec := OPERATIONS[name]).apply.__module__.startswith("ops.")
        and (spec.consumes, spec.produces) == (Format.TORCH, Format.TORCH)
    }


ONLY_THE_WEIGHTS_TELL = ("would remove every weight of", "Largest possible")
"""What no plan can know: that one threshold for all layers empties one of them."""


@settings(max_examples=12, deadline=None)
@given(net=st.sampled_from(sorted(NETS)), chain=CHAINS)
def test_every_chain_runs_or_is_refused_when_planned(tmp_path_factory, net, chain):
    model = run(net, chain, tmp_path_factory.mktemp)
    reload(model, tmp_path_factory.mktemp("model"))


LAST = {
    None: ({}, 1e-3),
    "float16": ({"method": "float16"}, 1e-2),
    "static": ({"samples": 96}, 0.3),
    "dynamic": ({"method": "dynamic", "include": ["linear"]}, 0.3),
}
"""What may end a chain -> parameters of `quantize`, and how far outputs may be from torch's, of their norm."""


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(net=st.sampled_from(sorted(NETS)), chain=CHAINS, last=st.sampled_from(list(LAST)))
def test_every_chain_exports_to_a_file_that_gives_the_same(tmp_path_factory, net, chain, last):
    model = run(net, chain, tmp_path_factory.mktemp)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, path)
    params, tolerance = LAST[last]
    exported = OnnxModel(path, model.architecture)
    if last:
        quantize = OPERATIONS["quantize"]
        exported = quantize.apply(exported, make_context(tmp_path_factory.mktemp("last")), **quantize.check(params))
    inputs = next(iter(digits().batches("evaluation", batch_size=64))).inputs
    given = outputs(exported, inputs=inputs)
    for name, values in outputs(model, inputs=inputs).items():
        difference = np.linalg.norm(given[name] - values)
        assert difference <= tolerance * np.linalg.norm(values), f"{name} after {last}"


def run(net, chain, folder) -> TorchModel:
    model, done = copy_of(base(net)), []
    for op, given_params in chain:
        spec = OPERATIONS[op]
        params = spec.check(given_params)
        if spec.refuse and (reason := spec.refuse(Ancestry(NETS[net], model.architecture.task, tuple(done)), params)):
            assert re.search(r"\w+ \w+", reason)
            continue
        before = snapshot(model)
        context = make_context(folder(op), references={"base": lambda: copy_of(base(net))})
        try:
            result = spec.apply(model, context, **params)
        except OperationError as error:
            if not any(words in str(error) for words in ONLY_THE_WEIGHTS_TELL):
                raise
            continue
        finally:
            assert snapshot(model) == before, f"{op} changed its input"
        check(result)
        done.append((op, params))
        model = result
    return model


def check(model: TorchModel) -> None:
    state = model.module.state_dict()
    for name, mask in model.masks.items():
        assert mask.shape == state[name].shape, name
        assert not state[name][~mask].any(), f"{name}: zeros survive"
    assert all(np.isfinite(values).all() for values in outputs(model).values())


def reload(model: TorchModel, folder: Path) -> None:
    storage.save(model, folder)
    again = storage.load(folder)
    for name, values in outputs(model).items():
        np.testing.assert_array_equal(outputs(again)[name], values)
    assert again.edits == model.edits
    assert again.masks.keys() == model.masks.keys()
