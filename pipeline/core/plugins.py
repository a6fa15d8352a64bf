"""Loading of a person's own modules: the one place where the program imports code that a configuration names."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from pipeline.core.errors import BouillonError, blame
from pipeline.core.user_code import record_imports


class PluginError(BouillonError, ValueError):
    """A module of the person's cannot be imported."""


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules that register operations, models, data sets, metrics, targets, lints and stages.

    Raises:
        PluginError: naming the module, the cause, and its line in the person's code.
    """
    record_imports()
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - boundary: a module of the user's may raise anything
            absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
            cause = str(error) if absent else blame(error)
            raise PluginError(f"plugins: '{module}' cannot be imported: {cause}") from None
