"""The page's code: modules of `static/`, which browsers get in one piece inside the page and Node imports as they are."""

from __future__ import annotations

import re
from functools import lru_cache

from viewer.format.templates import asset

__all__ = ["page_script"]

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
_OTHER_FORM = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


@lru_cache
def page_script(*names: str) -> str:
    """Return one classic script that does what loading these modules in this order does.

    A module that others import runs once, before them. A classic script runs where it stands and needs no other request: a
    page is drawn earlier than with modules that are fetched, and a saved report works without a server.

    Args:
        *names: files of `static/`.

    Raises:
        ValueError: modules that import each other in a circle, or what another does not export; or an import or export in
            another form than `import {a, b} from "./other.js";` and `export function | const | class NAME`, one name each.
    """
    parts: dict[str, str] = {}
    for name in names:
        _place(name.removesuffix(".js"), parts, ())
    return "(() => {\n" + "\n".join(parts.values()) + "\n})();"


def _place(name: str, parts: dict[str, str], above: tuple[str, ...]) -> None:
    """Add a module after those that it imports."""
    if name in parts:
        return
    if name in above:
        raise ValueError(f"Modules of static/ import each other in a circle: {' -> '.join((*above, name))}")
    text = asset(f"{name}.js")
    for names, other in _IMPORT.findall(text):
        _place(other, parts, (*above, name))
        for each in _names(names):
            if each.partition(" as ")[0] not in _EXPORT.findall(asset(f"{other}.js")):
                raise ValueError(f"static/{name}.js imports {each} from static/{other}.js, which does not export it")
    parts[name] = _in_a_function(name, text)


def _in_a_function(name: str, text: str) -> str:
    """Give a module a scope of its own, as a module has; strict, as modules are."""
    exports = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub(_destructuring, text))
    if match := _OTHER_FORM.search(body):
        raise ValueError(f"static/{name}.js: write another form of '{match[0]}': see viewer/format/scripts.py")
    result = f"return {{{', '.join(exports)}}};\n" if exports else ""
    return f'const ${name} = (() => {{\n"use strict";\n{body}{result}}})();'


def _destructuring(match: re.Match[str]) -> str:
    return f"const {{{', '.join(_names(match[1])).replace(' as ', ': ')}}} = ${match[2]};\n"


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
