"""Tables of orders, of steps that work together and of shares, as the template has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from viewer.compare.effects.chains import Chains, ChainShares, StepContrast, chains
from viewer.compare.effects.effects import Effect, effects
from viewer.compare.effects.words import EffectText, describe_effect
from viewer.results.results import Results

__all__ = ["chain_tables"]

_MOST = 100
"""Rows of a table."""


def chain_tables(results: Results, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the tables that have rows.

    Args:
        results: those to look at.
        columns: the metrics.
    """
    tables = _Tables(results, columns)
    return [table for table in (tables.orders(), tables.shares(), tables.interactions()) if table["rows"]]


class _Tables:
    def __init__(self, results: Results, columns: Sequence[str]) -> None:
        self._results, self._columns = results, columns
        self._chains: Chains = chains(results)

    def orders(self) -> dict[str, Any]:
        """Return what the order of two steps changes."""
        return {
            "title": "Does the order matter?",
            "about": "The first before the second, rather than after it",
            "note": "All other steps are the same, before the two and after them. Paired below the same root, then the mean over seeds "
            "and places, with its 95 % interval.",
            "rows": [self._contrast(each, " before ", is_order=True) for each in self._chains.orders[:_MOST]],
        }

    def interactions(self) -> dict[str, Any]:
        """Return by how much two steps together do more than the sum of each."""
        return {
            "title": "Do two steps work together?",
            "about": "Both, beyond the sum of each alone",
            "note": "The model with both, less that with each alone, plus that with neither. Within noise: their effects add up.",
            "rows": [self._contrast(each, " and then ", is_order=False) for each in self._chains.interactions[:_MOST]],
        }

    def shares(self) -> dict[str, Any]:
        """Return the share of each step in what a chain changed."""
        rows = [row for chain in self._chains.shares[:_MOST] for row in self._chain(chain)]
        return {
            "title": "Whose share is what?",
            "about": "Each step of a chain of which every part was run",
            "note": "Shapley shares: the mean of what a step changes over all orders in which the steps might have been added to one "
            "another. They sum up to what the whole chain changed.",
            "rows": rows,
        }

    def _contrast(self, contrast: StepContrast, between: str, *, is_order: bool) -> dict[str, Any]:
        of = self._chains.order_effect if is_order else self._chains.interaction
        places = len(contrast.places)
        return {
            "name": f"{self._name(contrast.first)}{between}{self._name(contrast.second)}",
            "where": f"at {places} places" if places > 1 else "",
            "count": sum(len(seeds) for seeds in contrast.places) * (2 if is_order else 4),
            "cells": [self._cell(of(contrast, metric), metric) for metric in self._columns],
        }

    def _chain(self, chain: ChainShares) -> list[dict[str, Any]]:
        text = " / ".join(self._name(step) for step in (*chain.prefix, *chain.steps))
        parts = len(chain.roots) << len(chain.steps)
        whole = [self._cell(self._chains.total(chain, metric), metric) for metric in self._columns]
        rows = [{"name": f"The whole chain: {text}", "where": "", "count": parts, "cells": whole}]
        for step in chain.steps:
            cells = [self._cell(self._chains.share(chain, step, metric), metric) for metric in self._columns]
            rows.append({"name": f"of it {self._name(step)}", "where": "", "count": "", "cells": cells})
        return rows

    def _name(self, step: str) -> str:
        return self._chains.names[step]

    def _cell(self, effect: Effect | None, metric: str) -> EffectText:
        return describe_effect(effect, self._results.spec(metric), is_factor=effects(self._results).is_factor(metric))
