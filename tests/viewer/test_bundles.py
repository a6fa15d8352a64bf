"""What is drawn as one."""

from hypothesis import given
from hypothesis import strategies as st

from tests.viewer.forests import node_lists
from viewer.map.bundles import Bundles, unfold
from viewer.results.lineage import Forest, Node, StepOutcome


def sweep(amounts=(0.5, 0.75, 0.9), below=("quantize",), **fixed):
    """Return a base model with one model per amount, each with the same children."""
    nodes = [Node("base", name="net", op="train")]
    for amount in amounts:
        params = {"sparsity": amount, **fixed}
        nodes.append(Node(f"p{amount}", "base", op="magnitude_prune", kind="prune", params=params))
        nodes += [Node(f"p{amount}-{op}", f"p{amount}", op=op, params={"bits": 8}) for op in below]
    return nodes


def only(bundles):
    (bundle,) = bundles.bundles.values()
    return bundle


def test_siblings_that_sweep_one_parameter_are_a_bundle():
    bundle = only(Bundles(Forest(sweep())))
    assert bundle.label == "magnitude_prune sparsity 0.5…0.9, 6 models"
    assert bundle.members == ("p0.5", "p0.75", "p0.9")
    assert set(bundle.models) == {f"p{a}{tail}" for a in (0.5, 0.75, 0.9) for tail in ("", "-quantize")}
    assert (bundle.parent, bundle.op, bundle.kind, bundle.parameter) == ("base", "magnitude_prune", "prune", "sparsity")


def test_siblings_whose_descendants_differ_are_none():
    extra = Node("more", "p0.9", op="finetune")
    assert not Bundles(Forest([*sweep(), extra])).bundles


def test_siblings_with_other_parameters_below_are_none():
    nodes = [*sweep(below=()), *(Node(f"q{a}", f"p{a}", op="quantize", params={"bits": a}) for a in (0.5, 0.75, 0.9))]
    assert not Bundles(Forest(nodes)).bundles


def test_two_models_are_no_sweep():
    assert not Bundles(Forest(sweep(amounts=(0.5, 0.9)))).bundles


def test_a_grid_of_two_parameters_is_a_sweep_per_value_of_the_shorter_one():
    nodes = [Node("base", op="train")] + [
        Node(f"{scope}{amount}", "base", op="prune", params={"sparsity": amount, "scope": scope})
        for scope in ("global", "layer")
        for amount in (0.25, 0.5, 0.75)
    ]
    bundles = Bundles(Forest(nodes)).bundles.values()
    assert [bundle.label for bundle in bundles] == ["prune sparsity 0.25…0.75, 3 models"] * 2


def test_repeats_of_one_step_are_a_bundle_without_a_parameter():
    nodes = [Node("base", op="train"), *(Node(f"r{at}", "base", op="prune", params={"seed": 1}) for at in range(3))]
    assert only(Bundles(Forest(nodes))).label == "prune, 3 models"


def test_failed_steps_are_not_hidden_among_those_that_worked():
    nodes = [*sweep(amounts=(0.1, 0.2, 0.3), below=()), Node("bad", "base", op="magnitude_prune",
             params={"sparsity": 0.99}, outcome=StepOutcome.FAILED, reason="out of memory")]  # fmt: skip
    bundles = Bundles(Forest(nodes))
    assert "bad" not in only(bundles).models
    assert "bad" in bundles.units("base")


def test_many_siblings_of_one_operation_are_a_bundle_whatever_tells_them_apart():
    nodes = [Node("base", op="train")] + [
        Node(f"q{at}", "base", op="quantize", params={"bits": at, "mode": at}) for at in range(20)
    ]
    assert only(Bundles(Forest(nodes))).label == "quantize, 20 models"


def test_even_siblings_that_have_nothing_in_common_are_bundled_where_they_are_too_many():
    nodes = [Node("base", op="train"), *(Node(f"x{at}", "base", op=f"op{at}") for at in range(200))]
    bundles = Bundles(Forest(nodes))
    assert len(unfold(bundles, rows=60)) <= 60
    assert only(bundles).label == "other steps, 200 models"


def test_a_bundle_keeps_its_id_while_its_sweep_grows():
    few, many = Bundles(Forest(sweep())), Bundles(Forest(sweep(amounts=(0.3, 0.5, 0.75, 0.9))))
    assert list(few.bundles) == list(many.bundles)


def test_everything_is_open_where_there_is_room():
    shown = unfold(Bundles(Forest(sweep())), rows=60)
    assert [unit.id for unit in shown][:3] == ["base", "p0.5", "p0.5-quantize"]
    assert all(unit.open for unit in shown)
    assert shown[1].bundle.startswith("bundle-")


def test_without_room_a_sweep_is_one():
    bundles = Bundles(Forest(sweep()))
    base, closed = unfold(bundles, rows=2)
    assert (base.id, base.open, closed.id, closed.open) == ("base", True, only(bundles).id, False)


def test_what_a_person_opens_is_open_whatever_it_takes_and_what_they_close_is_closed():
    bundles = Bundles(Forest(sweep()))
    bundle = only(bundles).id
    assert len(unfold(bundles, rows=2, open_units=[bundle])) == 7
    assert [unit.id for unit in unfold(bundles, rows=60, closed=[bundle])] == ["base", bundle]
    assert [unit.id for unit in unfold(bundles, rows=60, closed=["base"])] == ["base"]
    assert "p0.5-quantize" not in [unit.id for unit in unfold(bundles, rows=60, closed=["p0.5"])]


def test_what_is_opened_or_closed_may_be_gone():
    bundles = Bundles(Forest(sweep()))
    assert unfold(bundles, rows=60, open_units=["gone"], closed=["bundle-gone"]) == unfold(bundles, rows=60)


@given(node_lists(most=80), st.integers(1, 40) | st.none())
def test_every_model_is_visible_or_in_exactly_one_closed_unit_and_rows_are_kept(nodes, rows):
    forest = Forest(nodes)
    bundles = Bundles(forest)
    shown = unfold(bundles, rows=rows)
    owned = [
        key
        for unit in shown
        for key in (bundles.models(unit.id) if not unit.open else bundles.bundles.get(unit.id) or (unit.id,))
    ]
    assert sorted(owned) == sorted(forest.nodes)
    position = {unit.id: at for at, unit in enumerate(shown)}
    assert all(unit.parent is None or position[unit.parent] < position[unit.id] for unit in shown)
    if rows is None:
        assert all(unit.open for unit in shown)
    else:
        parents = {unit.parent for unit in shown}
        assert sum(unit.id not in parents for unit in shown) <= max(rows, len(bundles.units(None)))


@given(node_lists(most=60), st.randoms())
def test_bundles_do_not_depend_on_the_order_of_the_models(nodes, rng):
    shuffled = nodes[:]
    rng.shuffle(shuffled)
    one, other = Bundles(Forest(nodes)), Bundles(Forest(shuffled))
    assert one.bundles == other.bundles
    assert unfold(one, rows=10) == unfold(other, rows=10)
