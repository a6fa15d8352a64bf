"""What the page makes of a change: text, controls, and what findings and lints suggest."""

from types import SimpleNamespace

import pytest
import yaml

from pipeline.plan.schema import operation_schemas
from viewer.branch.controls import controls_of, typed_value
from viewer.branch.drafts import (
    MOST_TEXT,
    Draft,
    DraftError,
    change_of,
    from_finding,
    from_lint,
    in_place,
    names_a_step,
    parse_change,
    write_change,
)

SCHEMAS = operation_schemas()


def model(op="magnitude_prune", **params):
    return SimpleNamespace(
        key="model", op=op, params={"sparsity": 0.9, "scope": "global", "include": [], "exclude": [], **params}
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_parameter_has_a_control_and_what_is_typed_passes_the_check(name):
    from ops.core.operation import OPERATIONS

    schema = SCHEMAS[name]
    controls = {each.name: each for each in controls_of(schema, {})}
    others = {"model"} if schema["consumes"] is None else set()
    assert controls.keys() == schema["parameters"]["properties"].keys() - others
    typed = {}
    for each in controls.values():
        assert bool(each.default) != (each.name in schema["parameters"]["required"])
        text = (
            each.choices[-1] if each.choices else {"flag": "true", "list": "stem.0, norm"}.get(each.kind, each.default)
        )
        text = "0.5" if not text else "1" if text == "none" else text
        typed[each.name] = typed_value(schema, each.name, text)
    OPERATIONS[name].check(typed if not others else {**typed, "model": {"builder": "x"}})
    shown = {each.name: each for each in controls_of(schema, typed)}
    assert all(typed_value(schema, each.name, each.text) == typed[each.name] for each in shown.values())


def test_what_is_no_value_stays_as_it_was_typed_for_the_check_to_say():
    assert typed_value(SCHEMAS["palettize"], "bits", "four") == "four"
    assert typed_value(SCHEMAS["finetune"], "samples", "{a: 1}") == "{a: 1}"
    assert typed_value(SCHEMAS["finetune"], "samples", "null") is None
    assert typed_value(SCHEMAS["finetune"], "teacher", "7") == "7", "a name"
    assert typed_value(SCHEMAS["restore"], "include", "[a.b, 'c*' ]") == ["a.b", "'c*'"]


def test_a_strength_by_layer_is_typed_as_in_a_recipe():
    strengths = {"default": 0.5, "layer4.*": 0.8}
    schema = SCHEMAS["magnitude_prune"]
    (control,) = [each for each in controls_of(schema, {"sparsity": strengths}) if each.name == "sparsity"]
    assert control.text == "{default: 0.5, layer4.*: 0.8}"
    assert typed_value(schema, "sparsity", control.text) == strengths
    assert control.bounds == "at least 0, at most 1"


def test_a_change_is_read_and_written():
    change = {"fixed": {"op": "restore", "with": {"include": ["norm"]}}}
    assert parse_change(write_change(change)) == yaml.safe_load(write_change(change)) == change
    assert parse_change("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1, column 6: "),
        ("a: &x [1]\nb: *x", "alias"),
        ("- a", "expected a mapping"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("[" * 3000, "no YAML"),
        ("a: 2026-13-99", "no YAML"),
        ("a" * (MOST_TEXT + 1), "longer than"),
    ],
)
def test_what_is_no_change_is_told(text, message):
    with pytest.raises(DraftError, match=message):
        parse_change(text)


def test_a_step_has_a_name_that_no_other_below_the_model_has():
    draft = Draft("model", "restore", {})
    assert change_of(draft, []) == {"restore": {"op": "restore"}}
    assert list(change_of(draft, ["restore", "restore_2"])) == ["restore_3"]


def test_a_step_again_says_only_what_is_not_as_by_default():
    draft = in_place("above", "magnitude_prune", model(seed=3).params, SCHEMAS, {"exclude": ["head"]})
    assert draft == Draft("above", "magnitude_prune", {"sparsity": 0.9, "exclude": ["head"]})


def test_a_finding_restores_the_layer_of_a_network_and_leaves_it_alone_in_a_file():
    for site in ("stem.1.weight", "stem.1"):
        draft = from_finding("flattened_norm", site, model(), "above", SCHEMAS)
        assert draft == Draft("model", "restore", {"include": ["stem.1"]})
    int8 = SimpleNamespace(key="int8", op="quantize", params={"exclude": ["head"], "method": "static"})
    draft = from_finding("diverges", "stem.1", int8, "above", SCHEMAS)
    assert draft == Draft("above", "quantize", {"exclude": ["head", "stem.1"]})
    assert from_finding("diverges", "stem.1", int8, None, SCHEMAS) is None


@pytest.mark.parametrize(
    ("advice", "draft"),
    [
        ("prune with `round_to: 8`", Draft("above", "channel_prune", {"ratio": 0.5, "round_to": 8})),
        (
            '`exclude: ["a.b"]` leaves that layer alone',
            Draft("above", "channel_prune", {"ratio": 0.5, "exclude": ["a.b"]}),
        ),
        ("put `finetune` directly below `load`", Draft("model", "finetune", {})),
        ("prune less or fine-tune with the class in mind", Draft("model", "finetune", {})),
        ("measure again when the machine is quiet", None),
        ("see `load` and `*x`", None),
    ],
)
def test_advice_is_a_draft_where_a_recipe_can_say_it(advice, draft):
    node = SimpleNamespace(key="model", op="channel_prune", params={"ratio": 0.5, "round_to": None})
    assert from_lint(advice, node, "above", SCHEMAS) == draft
    assert names_a_step(advice) or draft is None


def test_an_exported_file_is_not_offered_what_takes_a_network():
    node = SimpleNamespace(key="model", op="quantize", params={})
    assert from_lint("`finetune` it", node, None, SCHEMAS) is None
