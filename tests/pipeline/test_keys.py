"""Identity: equal results share a key, different results do not."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.keys import canonical_json, evidence_key, step_key

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BASE = {
    "op": "p",
    "version": 1,
    "params": {"amount": 0.5},
    "parent": None,
    "references": {},
    "data": "d",
    "seed": 0,
}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # on a busy machine
@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_key_ignores_the_order_of_parameters(params):
    assert canonical_json(params) == canonical_json(dict(reversed(params.items())))


@pytest.mark.parametrize(
    "change",
    [
        {"op": "q"},
        {"version": 2},
        {"params": {"amount": 0.6}},
        {"parent": "x"},
        {"references": {"teacher": "x"}},
        {"data": "e"},
        {"data": None},
        {"seed": 1},
        {"seed": None},
    ],
    ids=str,
)
def test_key_depends_on(change):
    assert step_key(**BASE) != step_key(**(BASE | change))


def test_kinds_of_evidence_do_not_collide():
    keys = {evidence_key(what, version=version, model="m") for what in ("export", "layers") for version in (1, 2)}
    assert len(keys) == 4


def test_key_is_stable_across_releases():
    """A golden value: if this fails, every cached artifact on every disk is lost. Bump _FORMAT on purpose."""
    assert step_key(**BASE)[:16] == "b0718766ecb2ac74"
