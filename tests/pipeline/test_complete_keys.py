"""Whatever a step can see is in its key: over all registered operations, and what is not declared is refused."""

import contextlib
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Format, Kind, Processor, TorchModel, Uses, operation
from pipeline.core.keys import step_key
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import Planning
from pipeline.plan import planner as planning
from pipeline.plan.planner import entry_id, make_plan
from pipeline.plan.recipe import RecipeError, parse
from pipeline.plan.steps import Facts
from pipeline.stages.operation_context import WorkerContext

INTERFACE = {"task": "image-classification", "classes": ["a", "b"], "inputs": [["pixel_values", "float32", [1, 8, 8]]]}
TORCH = {"name": "net", "builder": "huggingface", "weights": "w", "content": "digest"}
ONNX = {"name": "file", "builder": "onnx", "path": "net.onnx", "content": "digest"}
FACTS = Facts(
    task="image-classification", data_fingerprint="d0", models={"net": TORCH, "file": ONNX}, default_model="net",
    accepts={"onnxruntime": Format.ONNX}, known_targets=("onnxruntime",), export_version=1, channel_multiple=8,
    interface=INTERFACE, libraries={"torch": "2.13", "onnxruntime": "1.32", "torch-pruning": "1.6", "transformers": "5.23"},
    runtimes={"onnxruntime": {"onnxruntime": "1.32.0"}}, device="here",
)  # fmt: skip
REQUIRED = {
    "restore": {"from": "base", "include": ["a*"]}, "magnitude_prune": {"sparsity": 0.5}, "gradient_prune": {"sparsity": 0.5},
    "activation_prune": {"sparsity": 0.5}, "channel_prune": {"ratio": 0.5}, "factorize": {"ratio": 0.5},
}  # fmt: skip
"""Parameters without which a step is refused."""
BESIDE = {
    ("quantize", "bits"): {"method": "weight_only"},
    ("factorize", "energy"): {"ratio": None},
    ("magnitude_prune", "allocation"): {"scope": "layer"},
}
"""Other parameters that a parameter needs beside it."""
CANDIDATES = (
    True, False, 1, 2, 3, 7, 64, 0.1, 0.25, 0.6, 1.5, 99.0, "base", "above", ["conv"], ["linear"], [0.5], {"conv": 0.5}, None,
)  # fmt: skip


def ours():
    return [name for name in OPERATIONS if OPERATIONS[name].apply.__module__.startswith("ops.")]


def recipe(op, params, seed=0):
    """The operation as the recipe's first step, or below one that it suits."""
    step = {"op": op, "with": params}
    if OPERATIONS[op].consumes is not None:
        above = {"op": "magnitude_prune", "with": {"sparsity": 0.5, "include": ["a*"]}, "then": {"step": step}}
        step = {"op": "load", "then": {"above": above}}
    return parse({"name": "keys", "seed": seed, "tree": {"base": step}})


def key(op, params=None, *, facts=FACTS, seed=0):
    """Key that the plan gives to the step, with fixed keys for the models that it is made from."""

    def alone(**identity):
        models = {"parent": identity["parent"] and "p", "references": dict.fromkeys(identity["references"], "r")}
        return step_key(**identity | models)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "step_key", alone)
        plan = make_plan(recipe(op, defaults(op) | (params or {}), seed), facts)
    return plan.steps[-1].key


def settled(op, params):
    return make_plan(recipe(op, defaults(op) | params), FACTS).steps[-1].params


def defaults(op):
    return dict(REQUIRED.get(op, {})) | ({"model": "file"} if op == "load_onnx" else {})


def alternatives(op, name, field):
    """Values of a parameter that are valid and not the present one, of as many kinds as there are."""
    before = OPERATIONS[op].check(defaults(op))
    for value in itertools.chain(_literals(field.annotation), CANDIDATES):
        with contextlib.suppress(OperationError):
            if OPERATIONS[op].check(defaults(op) | {name: value}) != before:
                yield value


def _literals(annotation):
    if str(annotation).startswith("typing.Literal"):
        yield from annotation.__args__
    else:
        for part in getattr(annotation, "__args__", ()):
            yield from _literals(part)


PARAMETERS = [
    (op, field.alias or name)
    for op in ours()
    for name, field in OPERATIONS[op].params.model_fields.items()
    if name != "model"
]


@pytest.mark.parametrize(("op", "name"), PARAMETERS)
def test_every_parameter_is_in_the_key(op, name):
    fields = {field.alias or own: field for own, field in OPERATIONS[op].params.model_fields.items()}
    reasons = []
    beside = BESIDE.get((op, name), {})
    for value in alternatives(op, name, fields[name]):
        try:
            if settled(op, {**beside, name: value}) == settled(op, {}):
                continue  # what the plan would have decided
            assert key(op, {**beside, name: value}) != key(op)
        except RecipeError as error:  # together with the others of the step it is refused: another may do
            reasons.append(str(error))
        else:
            return
    pytest.fail(f"no value of {name} was planned: {reasons[:3]}")


SEEN = {
    "order of classes": (Uses.INTERFACE, {"interface": {**INTERFACE, "classes": ["b", "a"]}}),
    "number of classes": (Uses.INTERFACE, {"interface": {**INTERFACE, "classes": ["a", "b", "c"]}}),
    "names of classes": (Uses.INTERFACE, {"interface": {**INTERFACE, "classes": ["a", "x"]}}),
    "task": (Uses.INTERFACE, {"interface": {**INTERFACE, "task": "text-classification"}}),
    "shape": (Uses.INTERFACE, {"interface": {**INTERFACE, "inputs": [["pixel_values", "float32", [1, 9, 8]]]}}),
    "type": (Uses.INTERFACE, {"interface": {**INTERFACE, "inputs": [["pixel_values", "int64", [1, 8, 8]]]}}),
    "name of an input": (Uses.INTERFACE, {"interface": {**INTERFACE, "inputs": [["x", "float32", [1, 8, 8]]]}}),
    "data": (Uses.DATA, {"data_fingerprint": "d1"}),
}


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize("op", ours())
def test_what_is_seen_of_the_data_is_in_the_key_and_nothing_else(op, what):
    use, change = SEEN[what]
    uses = OPERATIONS[op].uses
    visible = use in uses and not (use is Uses.INTERFACE and Uses.DATA in uses)  # the fingerprint covers the interface
    assert (key(op, facts=replace(FACTS, **change)) != key(op)) == visible


@pytest.mark.parametrize("op", ours())
def test_the_seed_is_in_the_key_where_numbers_are_drawn_and_nowhere_else(op):
    drawn = Uses.SEED in OPERATIONS[op].uses and op != "load"
    assert (key(op, seed=1) != key(op, seed=0)) == drawn


def test_a_new_head_is_drawn_from_a_seed_that_is_in_the_key():
    facts = replace(FACTS, models={"net": {**TORCH, "new_head": True}})
    assert key("load", facts=facts, seed=0) != key("load", facts=facts, seed=1)
    assert key("load", {"seed": 1}, facts=facts) == key("load", facts=facts, seed=1)
    with pytest.raises(RecipeError, match=r"Operation 'load': seed: no random numbers are drawn here; leave it out"):
        key("load", {"seed": 1})


@pytest.mark.parametrize("op", [name for name in ours() if OPERATIONS[name].marked("model entry")])
@pytest.mark.parametrize("change", [{"content": "other"}, {"content": None}, {"name": "x"}, {"weights": "v"}], ids=str)
def test_the_models_entry_its_files_and_its_code_are_in_the_key(op, change):
    entries = {name: {**entry, **change} for name, entry in FACTS.models.items()}
    assert key(op, facts=replace(FACTS, models=entries)) != key(op)


def test_files_of_an_entry_that_a_step_writes_out_count_too_whatever_the_recipe_claims():
    entry = {"name": "own", "builder": "huggingface", "weights": "w"}
    one, two = (replace(FACTS, contents={entry_id(entry): content}) for content in ("one", "two"))
    keys = {
        key("load", {"model": {**entry, **claim}}, facts=facts)
        for facts in (one, two)
        for claim in ({}, {"content": "c"})
    }
    assert len(keys) == 2


@pytest.mark.parametrize("op", ours())
def test_releases_of_libraries_that_an_operation_declares_and_the_code_of_a_persons_own_are_in_its_key(op):
    other = replace(FACTS, libraries=dict.fromkeys(FACTS.libraries, "99"))
    assert (key(op, facts=other) != key(op)) == bool(OPERATIONS[op].libraries)
    assert key(op, facts=replace(FACTS, code={op: "digest"})) != key(op)


def test_the_exporters_releases_rename_what_was_made_from_an_export_and_nothing_else():
    plans = [
        make_plan(recipe("quantize", {}), replace(FACTS, libraries={**FACTS.libraries, "torch": release}))
        for release in ("2.13", "2.14")
    ]
    one, two = ({step.op: step.key for step in plan.steps} for plan in plans)
    assert (one["load"], one["magnitude_prune"]) == (two["load"], two["magnitude_prune"])
    assert one["quantize"] != two["quantize"]


@pytest.mark.parametrize(
    ("params", "settled"),
    [
        ({}, {"activations", "reduce_range"}),
        ({"method": "dynamic"}, {"reduce_range"}),
        ({"method": "weight_only"}, set()),
        ({"method": "float16"}, set()),
        ({"reduce_range": True, "activations": "int8"}, set()),
    ],
)
def test_what_the_processor_decides_is_decided_in_the_plan_and_in_the_key(params, settled):
    processors = [Processor("uint8", True), Processor("int8", False)]
    plans = [make_plan(recipe("quantize", params), replace(FACTS, processor=each)) for each in processors]
    steps = [next(step for step in plan.steps if step.op == "quantize") for plan in plans]
    assert {frozenset(step.settled) for step in steps} == {frozenset(settled)}
    assert (steps[0].key != steps[1].key) == bool(settled)
    for step, processor in zip(steps, processors, strict=True):
        for name in settled:
            assert step.params[name] == getattr(processor, name)


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"device": "there"}, {"predict", "layer_times", "measure"}),
        ({"runtimes": {"onnxruntime": {"onnxruntime": "1.33.0"}}}, {"predict", "layer_times", "measure"}),
        ({"processor": Processor("int8", False)}, {"operation", "layers", "activations", "compare", "predict", "layer_times", "measure"}),
    ],
    ids=["device", "runtime", "processor"],
)  # fmt: skip
def test_machine_and_runtime_are_in_the_keys_of_what_is_observed_with_them(change, kinds):
    """Of a quantized model, whose integer kernels may saturate, the activations too."""

    def keys(facts):
        facts = replace(facts, profilers=frozenset({"onnxruntime"}))
        plan = make_plan(recipe("quantize", {}), facts)
        quantized = next(step.key for step in plan.steps if step.op == "quantize")
        jobs = jobs_of(Planning(plan, {"onnxruntime": {"target": "onnxruntime"}}, metrics=("accuracy",)))
        return {job.stage: job.key for job in jobs if job.model == quantized}

    before, after = keys(FACTS), keys(replace(FACTS, **change))
    assert {kind for kind in before if before[kind] != after[kind]} == kinds


def test_a_metrics_own_code_is_in_the_key_of_the_figures():
    from pipeline.measure.metrics.api import METRICS, Better, Estimate, ModelFiles, metric
    from pipeline.measure.metrics.compute import identities

    def halves(files: ModelFiles) -> Estimate:
        """Half."""
        return Estimate(0.5)

    halves.__annotations__ = {"files": ModelFiles, "return": Estimate}
    metric(unit="", better=Better.HIGHER)(halves)
    try:
        own = next(each for each in identities() if each.startswith("halves "))
    finally:
        del METRICS._items["halves"]
    assert len(own) == len("halves ") + 64
    assert "accuracy" in identities()


# what is not declared is refused


def _context(tmp_path, *uses):
    built = SimpleNamespace(built=True)
    return WorkerContext(
        seed=3, scratch=tmp_path, dataset=lambda: SimpleNamespace(fingerprint="d"), build=lambda *_: built,
        references={}, uses=uses,
    )  # fmt: skip


READS = {
    "data": (lambda ctx: ctx.data, [{Uses.DATA}]),
    "seed": (lambda ctx: ctx.seed, [{Uses.SEED}]),
    "weights": (lambda ctx: ctx.build({}, pretrained=True), [{Uses.INTERFACE}, {Uses.DATA}]),
    "random": (lambda ctx: ctx.build({}, pretrained=False), [{Uses.INTERFACE, Uses.SEED}, {Uses.DATA, Uses.SEED}]),
    "head": (
        lambda ctx: ctx.build({"new_head": True}, pretrained=True),
        [{Uses.INTERFACE, Uses.SEED}, {Uses.DATA, Uses.SEED}],
    ),
}


@pytest.mark.parametrize("read", READS)
def test_a_step_that_reads_what_it_does_not_declare_is_refused(tmp_path, read):
    act, enough = READS[read]
    for size in range(len(Uses) + 1):
        for uses in itertools.combinations(Uses, size):
            if any(each <= set(uses) for each in enough):
                assert act(_context(tmp_path, *uses)) is not None
            else:
                with pytest.raises(OperationError, match=r"is not in the key of its step: add Uses\.[A-Z]+ to `uses`"):
                    act(_context(tmp_path, *uses))


def test_a_model_that_no_parameter_names_is_refused(tmp_path):
    with pytest.raises(OperationError, match="loads 'base', which no parameter of type ModelRef names"):
        _context(tmp_path, *Uses).load("base")


def test_a_step_without_a_seed_in_its_key_draws_the_same_numbers_whatever_the_seed_is(
    planned, facts, operations, workplace, artifacts
):
    """By construction: what is not in the key has no influence, declared or not."""
    from pipeline.engine.worker import Worker
    from pipeline.models import storage

    if "draws_undeclared" not in OPERATIONS:

        @operation(kind=Kind.PRUNE, version=1)
        def draws_undeclared(model: TorchModel, ctx) -> TorchModel:
            import torch

            model = model.copy()
            with torch.no_grad():
                for parameter in model.module.parameters():
                    parameter.copy_(torch.randn_like(parameter))
            return model

    from pipeline.sweep.preflight import code_of_operations

    facts = replace(facts, code=facts.code | code_of_operations([OPERATIONS["draws_undeclared"]]))
    tree = {"base": {"op": "toy_base", "with": {"seed": 0}, "then": {"drawn": {"op": "draws_undeclared"}}}}
    found = []
    for seed in (0, 7):
        jobs = operations(planned(tree, facts=facts))
        drawn = replace(jobs[1], params=replace(jobs[1].params, seed=seed))
        for job in (jobs[0], drawn):
            outcome = Worker(workplace).run(job)
            assert not hasattr(outcome, "error"), outcome
        found.append((artifacts.path(drawn.key) / storage.TENSORS_FILE).read_bytes())
        artifacts.remove(drawn.key)
    assert found[0] == found[1]
