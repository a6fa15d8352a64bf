"""Selection details: the outcomes that the prototype got wrong, and those that it got right."""

import pytest

from tests.studies import study
from tests.viewer.forests import imported, lineage_keys
from viewer.compare.comparison import compare_selection, narrow
from viewer.compare.variables import VariableKind
from viewer.results.lineage import Forest, Node

BASE, C, F, Q = "net", "calibrate", "finetune", ("quantize", {"bits": 8})


def prune(amount=0.5):
    return "prune", {"amount": amount}


def drawn(comparison):
    """Return what a reader sees of each encoding: its label and its values."""
    return [(variable.label, list(variable.values)) for variable in comparison.encodings]


def of_lineages(*lineages):
    return compare_selection(*lineage_keys(*lineages))


@pytest.fixture(scope="module")
def ones():
    return Forest(imported(study()))


RESNET, MOBILENET = "resnet50trained", "mobilenetv2trained"

# (lineages, what is drawn, the sentence)
TABLE = {
    "the paper's example": (
        [(BASE, prune(), Q), (BASE, prune(), C, Q)],
        [("calibrate", ["none", "calibrate"])],
        "with and without calibrate; all else equal",
    ),
    "its intermediate models too, and no label hides a step": (
        [(BASE,), (BASE, prune()), (BASE, prune(), Q), (BASE, prune(), C), (BASE, prune(), C, Q)],
        [("prune, calibrate", ["none", "prune", "prune → calibrate"]), ("quantize", ["none", "quantize"])],
        "prune, prune → calibrate or none of them, with and without quantize; 5 of the 6 combinations exist;"
        " all else equal",
    ),
    "amounts times bits": (
        [(BASE, prune(a), ("quantize", {"bits": b})) for a in (0.5, 0.75, 0.9) for b in (16, 4, 8)],
        [("prune amount", ["0.5", "0.75", "0.9"]), ("quantize bits", ["4", "8", "16"])],
        "3 amounts of prune, 3 bits of quantize; all else equal",
    ),
    "amounts times bits and the parents": (
        [(BASE, prune(a), *more) for a in (0.5, 0.9) for more in ([], [("quantize", {"bits": 4})], [Q])],
        [("quantize bits", ["none", "4", "8"]), ("prune amount", ["0.5", "0.9"])],
        "2 bits of quantize and without it, 2 amounts of prune; all else equal",
    ),
    "a base model and its prunings need one variable": (
        [(BASE,), (BASE, prune(0.5)), (BASE, prune(0.75)), (BASE, prune(0.9))],
        [("prune amount", ["none", "0.5", "0.75", "0.9"])],
        "3 amounts of prune and without it; all else equal",
    ),
    "both ends of a chain: every step between is named": (
        [(BASE,), (BASE, prune(), F, Q, C)],
        [("steps", ["none", "prune → finetune → quantize → calibrate"])],
        "with and without prune → finetune → quantize → calibrate; all else equal",
    ),
    "an iterative chain shows its amounts": (
        [(BASE, prune(0.5)), (BASE, prune(0.5), prune(0.75)), (BASE, prune(0.5), prune(0.75), prune(0.9))],
        [("prune", ["prune 0.5", "prune 0.5 → prune 0.75", "prune 0.5 → prune 0.75 → prune 0.9"])],
        "prune 0.5, prune 0.5 → prune 0.75 or prune 0.5 → prune 0.75 → prune 0.9; all else equal",
    ),
    "order is kept": (
        [(BASE, prune(), Q), (BASE, Q, prune())],
        [("order of operations", ["prune → quantize", "quantize → prune"])],
        "2 orders of prune and quantize; all else equal",
    ),
    "order is told apart from amounts": (
        [(BASE, *steps) for a in (0.5, 0.9) for steps in ((prune(a), Q), (Q, prune(a)))],
        [("prune amount", ["0.5", "0.9"]), ("order of operations", ["prune → quantize", "quantize → prune"])],
        "2 amounts of prune, 2 orders of prune and quantize; all else equal",
    ),
    "a parameter that only one sibling has": (
        [(BASE, ("prune", {"amount": 0.5})), (BASE, ("prune", {"amount": 0.5, "scope": "global"}))],
        [("prune scope", ["not set", "global"])],
        "2 scopes of prune; all else equal",
    ),
    "lists are values": (
        [(BASE, ("prune", {"layers": ["a", "b"]}), Q), (BASE, ("prune", {"layers": ["c"]}), Q)],
        [("prune layers", ["a, b", "c"])],
        "2 layers of prune; all else equal",
    ),
    "operations without parameters": (
        [(BASE, C), (BASE, F)],
        [("operation", ["finetune", "calibrate"])],
        "finetune or calibrate; all else equal",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_drawn_and_said(name):
    lineages, expected, sentence = TABLE[name]
    comparison = of_lineages(*lineages)
    assert drawn(comparison) == expected
    assert comparison.sentence == sentence


def test_two_base_models_made_alike_and_their_children_are_told_apart_by_name():
    nodes = [
        Node("r1", None, "net_a", op="train", params={"epochs": 90}),
        Node("q1", "r1", "net_a/int8", op="quantize"),
        Node("r2", None, "net_b", op="train", params={"epochs": 90}),
        Node("q2", "r2", "net_b/int8", op="quantize"),
    ]
    comparison = compare_selection(Forest(nodes), ["r1", "r2", "q1", "q2"])
    assert drawn(comparison) == [("base model", ["net_a", "net_b"]), ("quantize", ["none", "quantize"])]
    assert comparison.sentence == "2 base models (net_a and net_b), with and without quantize; all else equal"


def test_two_base_models_are_named_not_described_by_their_epochs(ones):
    comparison = compare_selection(ones, [RESNET, MOBILENET])
    assert drawn(comparison) == [("base model", [MOBILENET, RESNET])]
    assert comparison.base is None


def test_one_base_model_trained_twice_differs_in_how():
    nodes = [Node("a", None, "net[epochs=1]", op="train", params={"epochs": 1}),
             Node("b", None, "net[epochs=20]", op="train", params={"epochs": 20})]  # fmt: skip
    comparison = compare_selection(Forest(nodes), ["a", "b"])
    assert drawn(comparison) == [("base model epochs", ["1", "20"])]
    assert comparison.sentence == "2 epochs of the base model; all else equal"


def repeated(**notes):
    return Forest(
        [Node("r", None, "net", op="train")]
        + [Node(f"p{at}", "r", op="prune", params={"amount": 0.5}, order=at, notes={k: v[at] for k, v in notes.items()})
           for at in range(3)]
        + [Node(f"q{at}", f"p{at}", op="quantize", order=9 - at) for at in range(3)]
    )  # fmt: skip


def test_repeats_are_numbered():
    comparison = compare_selection(repeated(), ["p0", "p1", "p2"])
    assert drawn(comparison) == [("repeat", ["1", "2", "3"])]
    assert comparison.sentence == "3 repeats; all else equal"


def test_repeats_go_by_their_seed_where_it_is_known():
    comparison = compare_selection(repeated(seed=[7, 10, 3], note=["same"] * 3), ["p0", "p1", "p2"])
    assert drawn(comparison) == [("seed", ["3", "7", "10"])]
    assert comparison.sentence == "3 seeds; all else equal"


def test_repeats_share_a_place_and_stand_beside_each_other_in_the_order_of_their_ancestors():
    comparison = compare_selection(repeated(), ["p0", "p1", "p2", "q0", "q1", "q2"])
    assert drawn(comparison) == [("quantize", ["none", "quantize"])]
    assert comparison.sentence == "with and without quantize, with repeats; all else equal"
    assert [(mark.key, mark.x, mark.repeat, mark.repeats) for mark in comparison.marks] == [
        ("p0", 0, 0, 3), ("p1", 0, 1, 3), ("p2", 0, 2, 3), ("q0", 1, 0, 3), ("q1", 1, 1, 3), ("q2", 1, 2, 3),
    ]  # fmt: skip
    assert [variable.id for variable in comparison.variables] == ["quantize", "repeat"]


def test_children_of_one_model_are_compared_by_what_they_share(ones):
    comparison = compare_selection(ones, ones.children(RESNET))
    assert drawn(comparison) == [
        ("amount", ["none", "0.5", "0.75", "0.9"]),
        ("operation", ["quantize", "magnitude prune", "gradient prune"]),
    ]


def test_a_subtree_is_a_grid(ones):
    comparison = compare_selection(ones, [MOBILENET, *ones.descendants(MOBILENET)])
    prune = "magnitude prune"
    assert drawn(comparison) == [
        (f"{prune}, calibrate, train", ["none", prune, f"{prune} → train", f"{prune} → calibrate"]),
        ("quantize", ["none", "quantize"]),
    ]
    assert comparison.base == MOBILENET


def test_all_prunings_of_the_study_are_drawn_with_their_base_models(ones):
    comparison = compare_selection(ones, [key for key in ones.nodes if "prune" in ones[key].op])
    amount, steps = comparison.encodings
    assert amount.values == ("0.25", "0.5", "0.75", "0.9")
    assert amount.numbers == (0.25, 0.5, 0.75, 0.9)
    assert steps.values == (
        f"{MOBILENET} → magnitude prune",
        f"{RESNET} → magnitude prune",
        f"{RESNET} → magnitude prune → train → magnitude prune 0.5",
        f"{RESNET} → gradient prune",
    )
    assert comparison.sentence.endswith("8 of the 16 combinations exist; all else equal")


def test_a_subtree_of_twelve_is_a_grid(ones):
    comparison = compare_selection(ones, ["resnet50trained-mag50", *ones.descendants("resnet50trained-mag50")])
    assert [len(variable.values) for variable in comparison.encodings] == [4, 2, 2]
    assert comparison.sentence.endswith("12 of the 16 combinations exist; all else equal")


def test_a_whole_column_is_drawn(ones):
    comparison = compare_selection(ones, [key for key in ones.nodes if ones[key].op == "quantize"])
    assert [len(variable.values) for variable in comparison.encodings] == [9, 6]
    assert len(comparison.marks) == 26


def test_what_goes_along_with_a_difference_is_said():
    nodes = [Node("a", None, "net", op="load"), *(Node(f"p{n}", "a", op="prune", params={"amount": n, "steps": n * 10,
             "scope": ["x", "y", "z", "w"][n]}) for n in range(4))]  # fmt: skip
    comparison = compare_selection(Forest(nodes), ["p0", "p1", "p2", "p3"])
    assert comparison.sentence == "4 amounts of prune; not all else is equal: prune scope and prune steps differ too"


def test_dust_in_a_number_is_no_difference():
    comparison = of_lineages((BASE, prune(0.6), C), (BASE, prune(0.6000000000000001), F), (BASE, prune(0.6), F))
    assert [label for label, _ in drawn(comparison)] == ["operation"]


def test_numbers_and_text_of_one_parameter_are_ordered():
    comparison = of_lineages(*[(BASE, prune(amount)) for amount in ("auto", 16, 8, None, 4)])
    assert drawn(comparison) == [("prune amount", ["null", "4", "8", "16", "auto"])]
    assert comparison.x.numbers is None


def test_one_model_and_none():
    forest, (key,) = lineage_keys((BASE, prune()))
    assert compare_selection(forest, [key]).sentence == f"One model: {forest[key].label}"
    assert compare_selection(forest, [key]).encodings == ()
    assert len(compare_selection(forest, [key]).marks) == 1
    assert compare_selection(forest, []).sentence == "Nothing is selected"
    assert compare_selection(forest, ["gone"]).marks == ()


def test_narrowing_takes_any_of_a_variables_values_and_all_variables():
    forest, keys = lineage_keys(*[(BASE, prune(a), *more) for a in (0.5, 0.75, 0.9) for more in ([], [Q], [C, Q])])
    comparison = compare_selection(forest, keys)
    assert {variable.id: variable.values for variable in comparison.variables} == {
        "prune.amount": ("0.5", "0.75", "0.9"),
        "calibrate": ("none", "calibrate"),
        "quantize": ("none", "quantize"),
    }
    chosen = narrow(comparison, {"prune.amount": ["0.5", "0.9"], "quantize": ["quantize"], "calibrate": []})
    assert set(chosen) == {keys[at] for at in (1, 2, 7, 8)}
    assert narrow(comparison, {}) == list(comparison.keys)
    assert narrow(comparison, {"gone": ["x"]}) == list(comparison.keys)
    assert narrow(comparison, {"quantize": ["gone"]}) == []
    assert drawn(compare_selection(forest, chosen)) == [
        ("prune amount", ["0.5", "0.9"]),
        ("calibrate", ["none", "calibrate"]),
    ]


def test_labels_of_one_variable_are_never_the_same():
    comparison = of_lineages((BASE, prune("1")), (BASE, prune(1)), (BASE, prune("none")), (BASE,))
    assert len(set(comparison.x.values)) == 4


def test_kinds_of_variables():
    comparison = of_lineages((BASE, prune(0.5)), (BASE, prune(0.9)), (BASE, prune(0.5), C), (BASE, prune(0.9), C))
    assert [variable.kind for variable in comparison.encodings] == [VariableKind.PARAMETER, VariableKind.PRESENCE]
    assert [variable.ops for variable in comparison.encodings] == [("prune",), ("calibrate",)]
