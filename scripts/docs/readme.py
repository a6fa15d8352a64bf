"""The parts of README.md that are made from the code, between `<!-- NAME -->` and `<!-- /NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from scripts.docs import views_table
from scripts.docs.operations_table import operations_table

README = Path(__file__).resolve().parents[2] / "README.md"
PARTS: dict[str, Callable[[], str]] = {
    "operations": operations_table,
    "views": lambda: views_table.markdown(views_table.public()),
}


def renewed(text: str) -> str:
    """Return the README with every made part as the code would have it now.

    Raises:
        ValueError: if the place of a part is not marked.
    """
    for name, make in PARTS.items():
        text = with_part(text, name, make())
    return text


def with_part(text: str, name: str, content: str) -> str:
    """Return the README with this content between the marks of a part.

    Raises:
        ValueError: if the place of the part is not marked.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", flags=re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md has no place for '{name}': <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda found: found[1] + content.strip() + found[2], text)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
