"""The controls of a page, found in its markup, and the messages that `viewer/static/page.js` sends for each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

_FIELDS = ("input", "textarea", "select")
TYPED = ("", "3", "90%", "text")


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    options: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    """Of a form: the names of its fields."""

    @property
    def dataset(self) -> dict[str, str]:
        return {name[5:]: value for name, value in self.attributes.items() if name.startswith("data-")}

    def values(self) -> list[Any]:
        """What a person can set it to."""
        if self.tag == "select":
            return self.options
        return [True, False] if self.attributes.get("type") == "checkbox" else list(TYPED)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[_Element] = []
        self._form: _Element | None = None
        self._select: _Element | None = None
        self._option: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = _Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag == "form":
            self._form = element
        elif tag == "select":
            self._select = element
        elif tag == "option" and self._select is not None:
            self._option = ""
            if "value" in element.attributes:
                self._select.options.append(element.attributes["value"])
                self._option = None
        if tag in _FIELDS and self._form is not None and "name" in element.attributes:
            self._form.fields.append(element.attributes["name"])

    def handle_data(self, data: str) -> None:
        if self._option is not None:
            self._option += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "option" and self._option is not None and self._select is not None:
            self._select.options.append(self._option)
            self._option = None
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None


def messages_of(markup: str) -> list[dict[str, Any]]:
    """Every message that the controls of some markup can send."""
    reader = _Reader()
    reader.feed(markup)
    return [
        message for element in reader.elements if "disabled" not in element.attributes for message in _messages(element)
    ]


def _messages(element: _Element) -> list[dict[str, Any]]:
    data = element.dataset
    if "set" in data:
        values = [data["value"]] if "value" in data else element.values()
        return [{"kind": "set", "field": data["set"], "value": value} for value in values]
    if "do" in data:
        return [{"kind": data["do"], **data, "add": add} for add in (False, True)]
    if "commit" in data:
        values = ["on"] if element.attributes.get("type") == "checkbox" else element.values()
        return [{"kind": data["commit"], **data, "value": value} for value in values]
    if "typed" in data:
        return [{"kind": data["typed"], "text": value} for value in element.values()]
    if "submit" in data:
        return [
            {"kind": data["submit"], **data, **dict.fromkeys(element.fields, value), "submitted": True}
            for value in TYPED
        ]
    return []
