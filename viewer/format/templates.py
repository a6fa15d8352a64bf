"""HTML from templates: every value is escaped, whoever wrote it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

__all__ = ["asset", "page_template", "render"]

_HERE = Path(__file__).parents[1]
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> str:
    """Fill `templates/<template>.html`."""
    return _TEMPLATES.get_template(f"{template}.html").render(**values)


@lru_cache
def asset(name: str) -> str:
    """Return the text of a file of `static/`, which pages carry inside themselves."""
    return (_HERE / "static" / name).read_text(encoding="utf-8")


@lru_cache
def page_template() -> Template:
    """Return the frame of the page. It is filled with finished markup and code, so it escapes only what it is told to."""
    return Environment(loader=FileSystemLoader(_HERE / "templates")).get_template("index.html")
