"""The query that gives the table's rows, as text for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from viewer.results.budget import Budget, sql
from viewer.results.snapshot import Setting, identity_of

__all__ = ["sql_of_table"]


def sql_of_table(
    metrics: list[str],
    context: Setting,
    order: str,
    *,
    descending: bool,
    within: Iterable[Budget] = (),
    keys: Collection[str] = (),
) -> str:
    """Return the query that gives the table's rows, for people to run themselves.

    Args:
        metrics: the columns, in their order.
        context: target, machine and data set.
        order: the column that it is sorted by; empty: none.
        descending: the largest first.
        within: budgets that rows must pass.
        keys: the only models; empty: all.
    """
    columns = ", ".join(["model", "op", *(_identifier(name) for name in metrics)])
    tests = [
        f"coalesce({name}, '') = {_literal(value)}"
        for name, value in zip(("target", "device", "dataset_key"), identity_of(context), strict=True)
        if value
    ]
    tests += [sql([budget]) for budget in within]
    tests += [f"model_key IN ({', '.join(map(_literal, keys))})"] if keys else []
    where = f"\nWHERE {' AND '.join(tests)}" if tests else ""
    by = f"\nORDER BY {_identifier(order)}{' DESC' if descending else ''} NULLS LAST" if order else ""
    return f"SELECT {columns}\nFROM scoreboard{where}{by};"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
