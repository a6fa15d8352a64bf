"""Errors of results files. Every message names the file, the problem and what to do."""

from __future__ import annotations

from pipeline.core.errors import BouillonError


class StoreError(BouillonError, RuntimeError):
    """Base of all: show its text, nothing else is needed."""


class NoResultsError(StoreError):
    """There is no file."""


class EmptyResultsError(StoreError):
    """The file has no content."""


class UnreadableResultsError(StoreError):
    """Not a DuckDB file, a damaged one, or one that may not be read."""


class DamagedFileError(UnreadableResultsError):
    """Its content is not what was written."""


class StrayLogError(UnreadableResultsError):
    """A write-ahead log that is not the file's lies beside it."""


class ForeignFileError(StoreError):
    """A DuckDB file of something else, or another store than expected."""


class SchemaVersionError(StoreError):
    """The file has a schema that this program does not read as it is."""


class OlderSchemaError(SchemaVersionError):
    """Written by an older Bouillon: can be migrated."""


class NewerSchemaError(SchemaVersionError):
    """Written by a newer Bouillon: this one must be updated."""


class WriteError(StoreError):
    """A write failed. Everything written before is safe; of this write, all is in the store or nothing."""


class InvalidRecordError(StoreError):
    """A record contradicts the store, e.g. names a parent that nobody wrote."""
