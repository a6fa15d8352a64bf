"""Errors of a data set, told by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.errors import blame
from pipeline.datasets.api import DataError


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Say which data set an error is about; whatever a data set of the user's raises becomes a `DataError`.

    Errors of files stay as they are: they name the file, and it is often the disk's fault rather than the data's.
    """
    prefix = f"Data set '{name}': "
    try:
        yield
    except DataError as error:
        if str(error).startswith(prefix):  # said where it was raised
            raise
        raise DataError(f"{prefix}{error}") from None
    except OSError:
        raise
    except Exception as error:  # boundary: a data set of the user's may raise anything
        raise DataError(f"{prefix}{blame(error)}") from error
