"""Data, weights and code that change between plan and run are noticed: nothing is stored under a key that is not its own."""

import os
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ops.core.operation import OPERATIONS
from pipeline.core.user_code import record_imports
from pipeline.engine.jobs import Done, Failed
from pipeline.engine.worker import Worker
from pipeline.sweep.preflight import code_of_operations, with_content

NET = """
from torch import nn
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Identity({}))
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Writes modules of a person's own that Python can import; what they leave in this process goes with the test."""
    monkeypatch.syspath_prepend(tmp_path)
    record_imports()
    yield lambda name, source: (tmp_path / f"{name}.py").write_text(source)
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def first(planned, facts, operations, workplace):
    """The job that makes the root of a plan from a conf/model entry."""

    def make(entry, op="toy_base"):
        entry = with_content({"name": "own", **entry}, workplace.data_folder)
        plan = planned({"base": {"op": op}}, facts=replace(facts, models={"own": entry}, default_model="own"))
        return operations(plan)[0]

    return make


def run(workplace, job, **changes):
    return Worker(replace(workplace, **changes)).run(job)


def test_code_that_is_edited_after_planning_is_refused(code, first, workplace, artifacts):
    code("nets_edited", NET.format(1))
    job = first({"builder": "python", "factory": "nets_edited:make"})
    code("nets_edited", NET.format(2))
    outcome = run(workplace, job)
    assert isinstance(outcome, Failed)
    assert outcome.error.endswith(
        "Model 'own': its files or its code have changed since the run was planned; run again"
    )
    assert job.key not in artifacts
    code("nets_edited", NET.format(1))
    assert isinstance(run(workplace, job), Done)


def test_code_that_is_edited_after_it_was_imported_is_refused_though_a_new_plan_has_seen_it(code, first, workplace):
    """A worker lives on from job to job, and runs what it has imported."""
    code("nets_lasting", NET.format(1))
    assert isinstance(run(workplace, first({"builder": "python", "factory": "nets_lasting:make"})), Done)
    code("nets_lasting", NET.format(2))
    outcome = run(workplace, first({"builder": "python", "factory": "nets_lasting:make"}))
    assert isinstance(outcome, Failed)
    assert "nets_lasting: edited after this process had imported it; run again" in outcome.error


def test_an_edit_that_keeps_length_and_date_is_not_hidden_by_compiled_code(code, tmp_path, monkeypatch):
    """Python takes its cache of compiled code for good while the source has the same size and second."""
    import importlib

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for value in (1, 2):
        code("constant_module", f"VALUE = {value}\n")
        os.utime(tmp_path / "constant_module.py", (1_000_000_000, 1_000_000_000))
        sys.modules.pop("constant_module", None)
        importlib.invalidate_caches()
        module = importlib.import_module("constant_module")
        assert value == module.VALUE


def test_weights_that_change_after_planning_are_refused(code, first, workplace, tmp_path):
    code("nets_weighted", NET.format(1))
    tensors = {"1.weight": torch.zeros(10, 64), "1.bias": torch.zeros(10)}
    save_file(tensors, tmp_path / "w.safetensors")
    job = first(
        {"builder": "python", "factory": "nets_weighted:make", "weights": str(tmp_path / "w.safetensors")}, "load"
    )
    save_file({**tensors, "1.bias": torch.ones(10)}, tmp_path / "w.safetensors")
    outcome = run(workplace, job)
    assert isinstance(outcome, Failed)
    assert "Model 'own': its files or its code have changed since the run was planned; run again" in outcome.error


def test_files_that_arguments_of_a_factory_name_are_part_of_the_model(code, first, tmp_path):
    code("nets_reading", NET.format(1))
    entry = {"builder": "python", "factory": "nets_reading:make", "arguments": {"table": str(tmp_path / "table.csv")}}
    (tmp_path / "table.csv").write_text("1")
    before = first(entry).key
    (tmp_path / "table.csv").write_text("2")
    assert first(entry).key != before


def test_data_that_change_after_planning_are_refused(planned, operations, workplace):
    job = operations(planned({"base": {"op": "train"}}))[0]
    assert job.makes_model
    outcome = run(workplace, job, data_fingerprint="0" * 64)
    assert isinstance(outcome, Failed)
    assert "Data set 'digits': its content has changed since the run was planned (000000000000 -> " in outcome.error


PLUGIN = """
from ops.core.operation import Context, Kind, TorchModel, operation
@operation(kind=Kind.PRUNE, version=1)
def {name}(model: TorchModel, ctx: Context) -> TorchModel:
    return model  # {remark}
"""


def test_the_code_of_an_operation_of_a_persons_own_is_in_its_key_and_checked(
    code, planned, facts, operations, workplace
):
    import importlib

    code("plugin_ops", PLUGIN.format(name="plugged_op", remark="one"))
    importlib.import_module("plugin_ops")

    def jobs():
        known = replace(facts, code=facts.code | code_of_operations([OPERATIONS["plugged_op"]]))
        return operations(planned({"base": {"op": "toy_base", "then": {"p": {"op": "plugged_op"}}}}, facts=known))

    try:
        base, step = jobs()
        assert isinstance(run(workplace, base), Done)
        code("plugin_ops", PLUGIN.format(name="plugged_op", remark="two"))
        outcome = run(workplace, step)
        assert isinstance(outcome, Failed)
        assert (
            "plugged_op: its code (plugin_ops, or what that imports) has changed since the run was planned"
            in outcome.error
        )
        with pytest.raises(ValueError, match="operation 'plugged_op': its code was edited while the run was planned"):
            jobs()
        code("plugin_ops", PLUGIN.format(name="plugged_op", remark="one"))
        assert isinstance(run(workplace, step), Done)
    finally:
        del OPERATIONS._items["plugged_op"]


DATA = """
from pipeline.datasets.api import dataset
from pipeline.datasets.sources.digits import digits
@dataset
def {name}(folder, *, train: int = 300):
    data = digits(folder, train=300, calibration=60, evaluation=60)
    data.fingerprint = "always the same"
    return data  # {remark}
"""


def test_the_fingerprint_of_a_persons_own_data_covers_code_and_parameters(code, workplace):
    import importlib

    from pipeline.datasets.api import DATASETS, DataError
    from pipeline.datasets.open import open_dataset

    def fingerprint(**parameters):
        return open_dataset({"name": "own", "dataset": "own_digits", **parameters}, workplace.data_folder).fingerprint

    found = []
    for remark in ("one", "two"):
        code("plugin_data", DATA.format(name="own_digits", remark=remark))
        if remark == "two":
            with pytest.raises(DataError, match="its code was edited after this process had imported it; run again"):
                fingerprint()
        sys.modules.pop("plugin_data", None)
        DATASETS._items.pop("own_digits", None)
        importlib.import_module("plugin_data")
        found += [fingerprint(), fingerprint(train=301), fingerprint()]
    del DATASETS._items["own_digits"]
    assert found[0] == found[2]
    assert len(set(found)) == 4


def test_a_new_head_has_the_weights_of_its_seed(code, first, workplace, tmp_path, artifacts):
    from pipeline.models import storage

    code(
        "nets_headed",
        NET.format(1)
        .replace("nn.Linear(64, 10)", "nn.Linear(64, 6), nn.Linear(6, 10)")
        .replace(", nn.Identity(1)", ""),
    )
    save_file({"1.weight": torch.ones(6, 64), "1.bias": torch.zeros(6)}, tmp_path / "body.safetensors")
    entry = {
        "builder": "python",
        "factory": "nets_headed:make",
        "weights": str(tmp_path / "body.safetensors"),
        "new_head": True,
    }
    job = first(entry, "load")
    heads = []
    for seed in (0, 7, 0):
        seeded = replace(job, params=replace(job.params, seed=seed))
        assert isinstance(run(workplace, seeded), Done)
        heads.append(storage.load(artifacts.path(job.key)).module.state_dict()["2.weight"])
        artifacts.remove(job.key)
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], heads[1])
