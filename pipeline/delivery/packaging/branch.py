"""The branch of a recipe that leads to one model, as a recipe of its own: with the entries that it names written out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ops.core.operation import OPERATIONS
from pipeline.core.keys import CONTENT
from pipeline.core.secret_values import hidden
from pipeline.plan.chains import with_variants
from pipeline.plan.recipe import RECIPE_WORDS, RecipeNode, parse
from pipeline.store.queries.model_facts import ModelFacts

__all__ = ["branch", "branch_text", "recipe_text"]

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*(?: [\w./-]+)*")
"""Texts that no reader of YAML takes for anything else, as far as PyYAML does not quote them anyway."""


def branch_text(facts: ModelFacts) -> str:
    """Return the branch that leads to a model as the text of a file, to be run as it stands."""
    config = facts.run.config
    params = {each.path: each.params for each in facts.lineage}
    recipe = hidden(branch(config["recipe"], params, params, config.get("dataset") or {}))
    words = [f"plugins=[{','.join(plugins)}]"] if (plugins := config.get("plugins")) else []
    command = " ".join(["python -m pipeline recipe=DIR/recipe.yaml", *words])
    return recipe_text(recipe, f"The branch that leads to {facts.path}. To make it anew: {command}")


def branch(
    recipe: Mapping[str, Any],
    paths: Iterable[str],
    params: Mapping[str, Mapping[str, Any]],
    dataset: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a recipe of some steps of another and those above them.

    Args:
        recipe: as it was composed.
        paths: of the steps that are needed, as plans call them.
        params: path -> the parameters of its model in full, from which entries of conf/model are taken.
        dataset: the entry of the data set.

    Raises:
        RecipeError: if it is no recipe.
        KeyError: if a path is not one of its steps.
    """
    nodes = {node.path: node for node in parse(_words(recipe)).nodes}
    needed: dict[str, RecipeNode] = {}
    for path in paths:
        at: str | None = path
        while at is not None:
            needed[at] = nodes[at]
            at = nodes[at].parent
    remaining = {name: value for name, value in recipe.items() if name not in ("model", "dataset", "tree")}
    written = with_variants(recipe["tree"], lambda problem: None)  # what `parse` has said already
    tree = _pruned(written, [None], list(needed.values()), params)
    return {**remaining, "dataset": dict(dataset), "tree": tree}


def _words(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without entries that it writes out."""
    return {
        name: value
        for name, value in recipe.items()
        if name in RECIPE_WORDS and not (name in ("model", "dataset") and isinstance(value, Mapping))
    }


def _pruned(
    tree: Mapping[str, Any],
    parents: Sequence[str | None],
    needed: Sequence[RecipeNode],
    params: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the steps below some others that are needed; of values of `each` those."""
    result: dict[str, Any] = {}
    for name, written in tree.items():
        nodes = [node for node in needed if node.parent in parents and _is_called(node, str(name))]
        if not nodes:
            continue
        step: dict[str, Any] = {"op": written["op"]}
        values = _values(written.get("with") or {}, nodes, params)
        below = _pruned(written.get("then") or {}, [node.path for node in nodes], needed, params)
        result[str(name)] = step | ({"with": values} if values else {}) | ({"then": below} if below else {})
    return result


def _is_called(node: RecipeNode, name: str) -> bool:
    own = node.path if node.parent is None else node.path[len(node.parent) + 1 :]
    return own.partition("[")[0] == name


def _values(
    written: Mapping[str, Any], nodes: Sequence[RecipeNode], params: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the parameters of a step as the recipe has them, but for model entries, which are written out."""
    values: dict[str, Any] = dict(written)
    for name, value in written.items():
        if isinstance(value, Mapping) and "each" in value:
            remaining: list[Any] = []
            for node in nodes:
                remaining += [] if node.params[name] in remaining else [node.params[name]]
            values[name] = {"each": remaining}
    for name in OPERATIONS[nodes[0].op].marked("model entry"):
        entry = params.get(nodes[0].path, {}).get(name)
        if isinstance(entry, Mapping) and not isinstance(values.get(name), Mapping):
            values[name] = {key: part for key, part in entry.items() if key != CONTENT}
    return values


def recipe_text(recipe: Mapping[str, Any], comment: str) -> str:
    """Return a recipe as YAML, under a comment of one line."""
    import yaml  # type: ignore[import-untyped]

    class Dumper(yaml.SafeDumper):
        """Quotes what only some readers take for a text."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = None if _PLAIN.fullmatch(value) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return f"# {comment}\n" + str(
        yaml.dump(dict(recipe), Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)
    )
