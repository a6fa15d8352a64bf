"""Calibration samples, checked: an empty split or a value that is not a number would quietly spoil what follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops.core.errors import OperationError
from ops.core.operation import Batch, Context

if TYPE_CHECKING:
    import numpy as np


def sample_count(ctx: Context, samples: int) -> int:
    """Return how many calibration instances there are to use: `samples`, or all of a smaller split.

    Raises:
        OperationError: if the split is empty.
    """
    size = ctx.data.size("calibration")
    if size == 0:
        raise OperationError(
            "The calibration split is empty: give the data set some calibration instances "
            "(a data set's `calibration:` parameter), or leave this operation out"
        )
    return min(samples, size)


def calibration_batches(ctx: Context, *, samples: int, batch_size: int) -> Iterator[Batch]:
    """Yield up to `samples` calibration instances, unaugmented and in a fixed order.

    Raises:
        OperationError: if the split is empty, or an input has NaN or infinite values (naming the instance).
    """
    import numpy as np

    for batch in ctx.data.batches("calibration", batch_size=batch_size, samples=sample_count(ctx, samples)):
        for name, array in batch.inputs.items():
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise OperationError(
                    f"Calibration instance '{_first_bad(batch, array)}': input '{name}' has NaN or infinite values; "
                    "clean the data set or leave the instance out"
                )
        yield batch


def _first_bad(batch: Batch, array: np.ndarray) -> str:
    import numpy as np

    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return batch.ids[int(np.argmin(finite))]
