"""The guides, and the parts of them that are made from the code, between `<!-- NAME -->` and `<!-- /NAME -->`.

`python -m scripts.docs.guides` writes the parts anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from scripts.docs import views_table
from scripts.docs.operations_guide import operations_guide

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS_GUIDE = ROOT / "ops" / "README.md"
SQL_GUIDE = ROOT / "pipeline" / "store" / "README.md"
GUIDES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "conf" / "README.md",
    OPERATIONS_GUIDE,
    ROOT / "pipeline" / "delivery" / "README.md",
    ROOT / "pipeline" / "engine" / "README.md",
    ROOT / "pipeline" / "delivery" / "search" / "README.md",
    ROOT / "pipeline" / "measure" / "README.md",
    SQL_GUIDE,
    ROOT / "viewer" / "README.md",
)
PARTS: dict[Path, dict[str, Callable[[], str]]] = {
    OPERATIONS_GUIDE: {"operations": operations_guide},
    SQL_GUIDE: {"views": lambda: views_table.markdown(views_table.public())},
}


def renewed(guide: Path) -> str:
    """Return a guide's text with every part as the code would have it now.

    Raises:
        ValueError: if the place of a part is not marked.
    """
    text = guide.read_text()
    for name, make in PARTS.get(guide, {}).items():
        text = with_part(text, name, make())
    return text


def with_part(text: str, name: str, content: str) -> str:
    """Return a text with this content between the marks of a part.

    Args:
        text: of the guide.
        name: of the part.
        content: in Markdown.

    Raises:
        ValueError: if the place of the part is not marked.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", flags=re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the guide has no place for '{name}': <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda match: match[1] + content.strip() + match[2], text)


if __name__ == "__main__":
    for each in PARTS:
        each.write_text(renewed(each))
