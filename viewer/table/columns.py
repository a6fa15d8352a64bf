"""The columns that a table of models may have: names, operations, parameters along the lineage, experiments and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from viewer.format.metrics import MetricInfo
from viewer.format.natural_order import natural_key
from viewer.results.experiments import FACETS
from viewer.results.model_text import value_words
from viewer.results.results import Results
from viewer.session.notes import Note
from viewer.session.state import FACET_COLUMN, NAME, OPERATION, PARAMETER, TAGS

__all__ = ["TableColumn", "TableColumns", "tag_column"]

ARROW = " → "
_FIRST_METRICS = 8
_FIRST_PARAMETERS = 4
_MOST_STEPS = 4
"""Of one operation in a lineage: the values of earlier ones are not told."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column: its heading, and each row's text and number."""

    id: str
    """As addresses have it: the name of a metric, `param:quantize.method`, `facet:seed`."""
    label: str
    text: Callable[[int], str]
    """What a row shows; empty where it has nothing."""
    over: str = ""
    """What stands above the label: the operation that a parameter is of."""
    about: str = ""
    values: np.ndarray | None = None
    """Float (N,), NaN where there is none; None: the column is of words."""
    spec: MetricInfo | None = None
    """Unit and format of the numbers."""
    is_metric: bool = False
    texts: Callable[[int], Sequence[str]] | None = None
    """Of a column with several texts in a row, such as tags: each by itself."""

    @property
    def title(self) -> str:
        """The heading in one line."""
        return f"{self.over} {self.label}".strip()

    @property
    def is_number(self) -> bool:
        """Whether all that its rows have are numbers."""
        return self.values is not None

    def order(self, rows: Iterable[int], *, descending: bool) -> list[int]:
        """Return some rows in the column's order; those that have nothing come last, either way."""
        rows = list(rows)
        if self.values is not None:
            at = np.array(rows, dtype=int)
            values = self.values[at]
            measured = at[np.isfinite(values)]
            up: list[int] = measured[np.argsort(self.values[measured], kind="stable")].tolist()
            unknown: list[int] = at[~np.isfinite(values)].tolist()
            return (up[::-1] if descending else up) + unknown
        texts = {row: self.text(row) for row in rows}
        in_order = sorted((row for row in rows if texts[row]), key=lambda row: natural_key(texts[row]))
        return (in_order[::-1] if descending else in_order) + [row for row in rows if not texts[row]]


class TableColumns:
    """The columns of one publication's results, made once for all visitors (`Results.shared`)."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._metrics: dict[str, TableColumn] = {}

    @cached_property
    def fixed(self) -> dict[str, TableColumn]:
        """Name and operation."""
        results = self._results

        def name_text(row: int) -> str:
            return results.text.name(results.keys[row])

        def operation(row: int) -> str:
            return results.text.operation(results.keys[row])

        return {NAME: TableColumn(NAME, "Model", name_text), OPERATION: TableColumn(OPERATION, "Made by", operation)}

    @cached_property
    def parameters(self) -> dict[str, TableColumn]:
        """A column for each parameter of each operation: those that differ between models first, numbers before words."""
        by_place = self._along_lineages()
        columns = [self._parameter(name, values) for name, values in by_place.items()]
        return {column.id: column for column in sorted(columns, key=self._rank)}

    @cached_property
    def facets(self) -> dict[str, TableColumn]:
        """A column for each facet of experiments that is known of any model."""
        experiments = self._results.experiments
        texts = {facet: experiments.texts(facet) for facet in FACETS}
        return {
            f"{FACET_COLUMN}{facet}": TableColumn(f"{FACET_COLUMN}{facet}", FACETS[facet], own.__getitem__)
            for facet, own in texts.items()
            if any(own)
        }

    @cached_property
    def metrics(self) -> dict[str, TableColumn]:
        """A column for each metric, in the order of the study."""
        return {metric.name: self._metric(metric) for metric in self._results.metrics}

    @cached_property
    def all(self) -> dict[str, TableColumn]:
        """Every column that may be shown or left out, by its id, in their order."""
        return {**self.parameters, **self.facets, **self.metrics}

    def find(self, column: str) -> TableColumn | None:
        """Return a column by its id; None where there is none."""
        return self.all.get(column) or self.fixed.get(column)

    @cached_property
    def usual(self) -> list[str]:
        """The ids of the columns that are shown where nobody chose any."""
        telling = [name for name, column in self.parameters.items() if self._differs(column)]
        return [*telling[:_FIRST_PARAMETERS], *list(self.metrics)[:_FIRST_METRICS]]

    def of_choice(self, choice: Iterable[str]) -> list[TableColumn]:
        """Return the columns of a choice, or the usual ones, in their order."""
        names = set(choice) & self.all.keys() or set(self.usual)
        return [column for name, column in self.all.items() if name in names]

    # ---- parameters
    def _along_lineages(self) -> dict[tuple[str, str], list[tuple[object, ...]]]:
        """(operation, parameter) -> for each row the values that it had in the steps of the lineage, the last one last."""
        forest, row_of = self._results.forest, self._results.row
        by_place: dict[tuple[str, str], list[tuple[object, ...]]] = {}
        inherited: dict[str, Mapping[tuple[str, str], tuple[object, ...]]] = {}
        for node in forest:
            parent = forest.parent(node.key)
            values_here = dict(inherited[parent]) if parent is not None else {}
            for name, value in node.brief.params.items():
                if value is not None and value not in ([], {}, ""):
                    values_here[node.op, name] = (*values_here.get((node.op, name), ()), value)[-_MOST_STEPS:]
            inherited[node.key] = values_here
            if node.key in row_of:
                for place, values in values_here.items():
                    by_place.setdefault(place, [()] * len(row_of))[row_of[node.key]] = values
        return by_place

    def _parameter(self, place: tuple[str, str], steps: list[tuple[object, ...]]) -> TableColumn:
        op, name = place
        words = op.replace("_", " ")
        texts = [ARROW.join(value_words(value) for value in values) for values in steps]
        are_numbers = all(_is_number(values[-1]) for values in steps if values)
        numbers = np.array([values[-1] if values else np.nan for values in steps], float) if are_numbers else None
        several = " Where the lineage has several of these steps, in their order; the last counts." * any(
            ARROW in text for text in texts
        )
        return TableColumn(
            f"{PARAMETER}{op}.{name}",
            name.replace("_", " "),
            texts.__getitem__,
            over=words,
            about=f"Parameter '{name}' of '{words}', in the lineage of the model.{several}",
            values=numbers,
            spec=MetricInfo(name, format=".6g") if are_numbers else None,
        )

    def _rank(self, column: TableColumn) -> tuple[bool, bool, int]:
        rows = range(len(self._results.keys))
        return not self._differs(column), not column.is_number, -sum(bool(column.text(row)) for row in rows)

    def _differs(self, column: TableColumn) -> bool:
        return len({column.text(row) for row in range(len(self._results.keys))} - {""}) > 1

    def _metric(self, metric: MetricInfo) -> TableColumn:
        results, name = self._results, metric.name

        def text(row: int) -> str:
            return results.show(name, row) if np.isfinite(results.values(name)[row]) else ""

        return TableColumn(
            name,
            metric.label,
            text,
            about=results.about(name),
            values=results.values(name),
            spec=metric,
            is_metric=True,
        )


def tag_column(results: Results, notes: Mapping[str, list[Note]]) -> TableColumn:
    """Return the column of tags, and of notes without any: what people said of the models.

    Args:
        results: those at hand.
        notes: key of a model -> the notes on it.
    """

    def tags(row: int) -> list[str]:
        return list(dict.fromkeys(tag for note in notes.get(results.keys[row], ()) for tag in note.tags))

    def text(row: int) -> str:
        return ", ".join(tags(row)) or ("⚑" if notes.get(results.keys[row]) else "")

    return TableColumn(TAGS, "Tags", text, texts=tags)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
