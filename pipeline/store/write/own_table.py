"""Records with a table of their own: one declaration gives the record, the table and what its columns mean.

    @own_table("zeros", model_key="model")
    @dataclass(frozen=True, slots=True)
    class Zeros:
        '''Exact zeros among a model's weights.'''

        model_key: Annotated[str, "The model."]
        count: Annotated[int, "Number of weights that are exactly zero."]

The table is declared as those of the program are (`pipeline.store.records.columns`), and made when the first record is
written. Beside the record's columns it has `fact`, a digest of the row, and `recorded_at`. Records are never changed:
another meaning of a column is another column, in a table of another name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TypeVar

import duckdb

from pipeline.store.records.columns import TABLES, declare, key_columns
from pipeline.store.schema import definition

R = TypeVar("R", bound=type)


def own_table(name: str, **refers: str) -> Callable[[R], R]:
    """Declare the table of a record, which is a frozen dataclass; its docstring becomes the table's comment.

    Args:
        name: of the table.
        refers: column -> table whose key its values are: `model`, `run`, `dataset`, `metric` or `device`.

    Raises:
        TypeError: if the name or a referred table does not suit, or a column has no type of SQL or no description.
    """

    def with_table(record: R) -> R:
        others = {table.name for kind, table in TABLES.items() if _address(kind) != _address(record)}
        if not name.isidentifier() or name in others | definition.names():
            raise TypeError(
                f"{record.__name__}: the store has a table or view '{name}', or it is no name; choose another"
            )
        if name.lower() in _reserved_words():
            raise TypeError(
                f"{record.__name__}: '{name}' is a word of SQL, so queries would have to quote it; choose another name"
            )
        unknown = sorted(set(refers.values()) - key_columns().keys())
        if unknown:
            raise TypeError(f"{record.__name__}: the store has no table '{unknown[0]}' to refer to")
        table = declare(record, name, refers)
        for kind in [kind for kind in TABLES if _address(kind) == _address(record)]:  # its module is loaded again
            del TABLES[kind]
        TABLES[record] = replace(table, own=True)
        return record

    return with_table


@cache
def _reserved_words() -> frozenset[str]:
    words = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    with duckdb.connect() as connection:
        return frozenset(word for (word,) in connection.execute(words).fetchall())


def _address(record: type) -> tuple[str, str]:
    return record.__module__, record.__qualname__
