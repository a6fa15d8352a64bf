"""Forests for tests of the viewer's pure modules: written by lineage, random, or from a study."""

import random

from hypothesis import strategies as st

from viewer.results.lineage import Forest, Node

OPS = ("prune", "quantize", "calibrate", "finetune")


def lineage_keys(*lineages):
    """Return a forest of lineages, which share their common beginnings, and the key of the end of each.

    A step is an operation, or a pair of operation and parameters; the first step is the base model.
    """
    nodes, ends = {}, []
    for lineage in lineages:
        parent = None
        for at, step in enumerate(lineage):
            op, params = (step, {}) if isinstance(step, str) else step
            key = f"{parent or ''}/{op}{sorted(params.items(), key=str) or ''}"
            name = op if parent is None else key
            made = Node(key, parent, name, op=op if at else "train", kind=op, params=params, order=len(nodes))
            nodes.setdefault(key, made)
            parent = key
        ends.append(parent)
    return Forest(nodes.values()), ends


def imported(study):
    """Return the nodes of a study in the prototype's schema."""
    return [
        Node(
            key=model["id"],
            parent=model["base"],
            name=model["id"],
            op=model["operation"]["name"],
            kind=model["operation"]["name"].split()[-1],
            params=model["operation"]["parameters"],
            order=at,
        )
        for at, model in enumerate(study["models"])
    ]


@st.composite
def node_lists(draw, most=40, roots=3, depth=None):
    """Draw nodes in the order of their time; every parent is among them."""
    count = draw(st.integers(1, most))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = random.Random(seed)  # one draw instead of thousands: shrinking would not help, and it is fast
    nodes, steps = [], {}
    for at in range(count):
        free = [key for key, step in steps.items() if depth is None or step < depth]
        parent = None if at == 0 or not free or rng.random() < roots / 40 else rng.choice(free)
        key = f"k{at:03}"
        steps[key] = 0 if parent is None else steps[parent] + 1
        params = {"amount": rng.choice([0.25, 0.5, 0.75])} if rng.random() < 0.7 else {}
        op = rng.choice(OPS) if parent else "train"
        nodes.append(Node(key, parent, key, op=op, kind=op, params=params, order=at))
    return nodes


def chain(length, op="prune"):
    """Return one lineage of that many models."""
    return Forest(
        Node(f"{at:05}", f"{at - 1:05}" if at else None, op=op, params={"amount": 0.5}, order=at)
        for at in range(length)
    )
