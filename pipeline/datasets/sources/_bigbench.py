"""Members of the source archive of `bigbench` (358 MB, fetched once, of which 70 MB are kept) that data sets use."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.download.pypi import DistributionError, PackageFile, obtain
from pipeline.datasets.api import DataError

BIGBENCH = PackageFile(
    archive="bigbench-1.0.0.tar.gz",
    sha256="1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
)
_TASKS = "bigbench-1.0.0/bigbench/benchmark_tasks"
CIFAR10 = f"{_TASKS}/cifar10_classification/base64/task.json"
SQUAD_SHIFTS = f"{_TASKS}/squad_shifts"


def bigbench(folder: Path) -> Path:
    """Return the folder that holds CIFAR10 and SQUAD_SHIFTS: both at once, as the archive is large.

    Srivastava et al., "Beyond the Imitation Game: Quantifying and extrapolating the capabilities of language models",
    2022, arXiv:2206.04615.

    Raises:
        DataError: if they are not below the cache folder `folder`, and cannot be fetched.
    """
    try:
        return obtain(BIGBENCH, [CIFAR10, SQUAD_SHIFTS], folder)
    except DistributionError as error:
        raise DataError(str(error)) from None
