"""Columns, declared once: a record's fields give its table in SQL, what its columns mean, and the rows it becomes.

    @record_table("finding", model_key="model")
    @dataclass(frozen=True, slots=True)
    class Finding:
        '''Something conspicuous in a model's layers.'''

        model_key: Annotated[str, "The model."]
        position: Annotated[Int32, "Place along the network, from 0."]
        proposal: Annotated[str | None, "Recipe lines to copy."]

The statement that makes the table, the comments of its columns, those of the views that show them, the references that
are checked and the columns of an insert all come from here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = [
    "SETS",
    "TABLES",
    "Each",
    "Int32",
    "SetTables",
    "Sql",
    "StoredColumn",
    "StoredTable",
    "column_comment",
    "declare",
    "key_columns",
    "record_table",
    "set_tables",
    "sql_name",
    "sql_text",
]

R = TypeVar("R", bound=type)


@dataclass(frozen=True, slots=True)
class Sql:
    """The SQL of a column, as far as its type in Python does not say it."""

    type: str = ""
    name: str = ""
    """Its name, where SQL keeps the field's for itself."""
    values: tuple[str, ...] = ()
    """All values that it may have."""


@dataclass(frozen=True, slots=True)
class Each:
    """A field of a record of many instances that holds one value for each: a column of the table of rows."""

    type: str
    name: str = ""
    optional: bool = False
    """Whether a value may be NULL."""


Int32 = Annotated[int, Sql("INTEGER")]
"""A whole number that four bytes hold."""
_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", datetime: "TIMESTAMP", Mapping: "JSON"}
_ALLOWED = ", ".join(kind.__name__ for kind in (*_TYPES, Sequence))


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column of a table."""

    name: str
    type: str
    comment: str
    field: str = ""
    """The record's; empty: the store fills it."""
    optional: bool = False
    """Whether it may be NULL."""
    constraint: str = ""
    values: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """Its line of the statement that makes the table."""
        condition = f"CHECK ({sql_name(self.name)} IN ({', '.join(map(sql_text, self.values))}))" if self.values else ""
        return " ".join(
            filter(
                None, (sql_name(self.name), self.type, "" if self.optional else "NOT NULL", self.constraint, condition)
            )
        )


_FACT = StoredColumn("fact", "UUID", "Digest of the row, so that what is written twice is stored once.")
_RECORDED_AT = StoredColumn(
    "recorded_at", "TIMESTAMP", "When the row entered the store, UTC; views show the newest of several."
)
_POSITION = StoredColumn("position", "INTEGER", "Place of the instance in the split, from 0.")


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table."""

    name: str
    comment: str
    columns: tuple[StoredColumn, ...]
    key: str = ""
    """The column that identifies a row; empty in tables of rows, which are written as whole sets."""
    known_by: str = ""
    """The column that other tables refer to."""
    refers: tuple[tuple[str, str], ...] = ()
    """(column, table): a value that is neither empty nor None must be what that table is known by."""
    unique: tuple[str, ...] = ()
    """Columns that are together those of one row only."""
    own: bool = False
    """Of a person's own stage: made when it is first written to, and public as it is, without a view."""

    @property
    def recorded(self) -> bool:
        """Whether the row says when it entered the store."""
        return _RECORDED_AT in self.columns

    @property
    def creation(self) -> str:
        """The statement that makes it, where it is missing."""
        lines = [column.definition for column in self.columns]
        lines += [f"UNIQUE ({', '.join(map(sql_name, self.unique))})"] if self.unique else []
        body = ",\n    ".join(lines)
        return f"CREATE TABLE IF NOT EXISTS {self.name} (\n    {body}\n)"

    @property
    def comments(self) -> tuple[str, ...]:
        """The statements that say in the database what it holds."""
        return (
            f"COMMENT ON TABLE {self.name} IS {sql_text(self.comment)}",
            *(
                f"COMMENT ON COLUMN {self.name}.{sql_name(column.name)} IS {sql_text(column.comment)}"
                for column in self.columns
            ),
        )

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that the record gives, in the order of its fields; the others are the store's to fill."""
        return tuple(column.name for column in self.columns if column.field)

    def values(self, record: Any) -> dict[str, Any]:
        """Return the record's values by column."""
        return {column.name: getattr(record, column.field) for column in self.columns if column.field}


class SetTables(NamedTuple):
    """The two tables of records of many instances: one row per record, and one per instance."""

    header: StoredTable
    rows: StoredTable


TABLES: dict[type, StoredTable] = {}
"""Record -> its table; those of people's own stages join when their modules are loaded."""
SETS: dict[type, SetTables] = {}
"""Record of many instances -> its tables."""


def record_table(
    name: str, *, key: str = "fact", known_by: str = "", recorded: bool = True, **refers: str
) -> Callable[[R], R]:
    """Declare the table of a record, which is a frozen dataclass; its docstring becomes the table's comment.

    Args:
        name: of the table.
        key: the column that identifies a row: `fact`, a digest of the whole row, unless one of the record's does.
        known_by: the column that other tables refer to, if it is not the key.
        recorded: whether each row says when it entered the store.
        refers: column -> table whose key its values are.
    """

    def with_table(record: R) -> R:
        TABLES[record] = declare(record, name, refers, key=key, known_by=known_by, recorded=recorded)
        return record

    return with_table


def declare(
    record: type, name: str, refers: Mapping[str, str], *, key: str = "fact", known_by: str = "", recorded: bool = True
) -> StoredTable:
    """Return the table of a record; arguments as of `record_table`.

    Raises:
        TypeError: if a column has no type of SQL or no description.
    """
    columns = [*([_FACT] if key == "fact" else []), *_columns(record), *([_RECORDED_AT] if recorded else [])]
    return StoredTable(
        name,
        _comment(record),
        tuple(replace(column, constraint="PRIMARY KEY") if column.name == key else column for column in columns),
        key=key,
        known_by=known_by or key,
        refers=tuple(refers.items()),
    )


def set_tables(
    header: str, rows: str, *, unique: tuple[str, ...] = (), recorded: bool = True, **refers: str
) -> Callable[[R], R]:
    """Declare the tables of a record of many instances: its fields with `Each` are columns of `rows`, others of `header`.

    Args:
        header: name of the table with one row per record, and of the number that links the two.
        rows: name of the table with one row per instance. It has no index: a whole set is written at once, or not at all.
        unique: columns that identify a record; without, a digest of it does.
        recorded: whether a record says when it entered the store.
        refers: column -> table whose key its values are.
    """

    def with_tables(record: R) -> R:
        number = StoredColumn(header, "INTEGER", "Number of the set.", constraint="PRIMARY KEY")
        own = (
            number,
            *([] if unique else [replace(_FACT, constraint="UNIQUE")]),
            *_columns(record, per_instance=False),
            *([_RECORDED_AT] if recorded else []),
        )
        each = (replace(number, constraint=""), _POSITION, *_columns(record, per_instance=True))
        SETS[record] = SetTables(
            StoredTable(header, _comment(record), own, key=header, refers=tuple(refers.items()), unique=unique),
            StoredTable(rows, f"By instance: {_comment(record)}", each),
        )
        return record

    return with_tables


def key_columns() -> dict[str, str]:
    """StoredTable -> the column that other tables refer to."""
    return {each.name: each.known_by for each in TABLES.values() if not each.own}


def column_comment(record: type, name: str) -> str:
    """Return the description of a column of a record's table."""
    return next(column.comment for column in TABLES[record].columns if column.name == name)


def _comment(record: type) -> str:
    return (record.__doc__ or "").strip().partition("\n")[0]


def _columns(record: type, *, per_instance: bool = False) -> list[StoredColumn]:
    hints = get_type_hints(record, include_extras=True)
    columns = {each.name: _column(record, each, hints[each.name]) for each in fields(record)}
    return [column for name, column in columns.items() if per_instance == _is_each(hints[name])]


def _is_each(hint: Any) -> bool:
    return any(isinstance(fact, Each) for fact in hint.__metadata__)


def _column(record: type, field: Field[Any], hint: Any) -> StoredColumn:
    """The column of a field.

    Raises:
        TypeError: if the field has no type of SQL or no description.
    """
    place = f"{record.__name__}.{field.name}"
    facts: tuple[Any, ...] = getattr(hint, "__metadata__", ())
    comment = next((fact for fact in facts if isinstance(fact, str)), "")
    if get_origin(hint) is not Annotated or not comment:
        raise TypeError(f'{place}: give the column a description: Annotated[TYPE, "..."]')
    source = field.name if field.init else ""
    each = next((fact for fact in facts if isinstance(fact, Each)), None)
    if each is not None:
        return StoredColumn(each.name or field.name, each.type, comment, source, each.optional)
    options = _options(hint.__origin__)
    sql = next((fact for fact in facts if isinstance(fact, Sql)), Sql())
    kind = sql.type or _type([option for option in options if option is not types.NoneType])
    if not kind:
        raise TypeError(f"{place}: a column is one of {_ALLOWED}, or that or None")
    return StoredColumn(sql.name or field.name, kind, comment, source, types.NoneType in options, values=sql.values)


def _options(hint: Any) -> list[Any]:
    return list(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else [hint]


def _type(options: list[Any]) -> str:
    """The type in SQL of a type in Python; empty if it has none."""
    if len(options) != 1:
        return ""
    (option,) = options
    origin = get_origin(option) or option
    if origin is Annotated:
        return next((fact.type for fact in option.__metadata__ if isinstance(fact, Sql)), "") or _type(
            [option.__origin__]
        )
    if origin is Sequence and get_args(option):
        item = _type(list(get_args(option)))
        return f"{item}[]" if item else ""
    return _TYPES.get(origin, "")


def sql_text(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """Return the name of a column as SQL takes any name, its own words too."""
    return '"' + name.replace('"', '""') + '"'
