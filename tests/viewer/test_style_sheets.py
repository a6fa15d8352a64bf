"""Style sheets of the page: they are joined, so that a class which one part styles must be no other part's."""

import re
from collections import defaultdict
from pathlib import Path

from viewer.format.templates import asset

STATIC = Path(__file__).parents[2] / "viewer" / "static"
SHARED, ELSEWHERE = "page.css", {"report.css"}


def selectors(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    for group in re.findall(r"([^{}]+)\{[^{}]*\}", text):
        yield from (each.strip() for each in re.split(r",(?![^()]*\))", group))


def clashes(sheets):
    """Classes that one sheet styles wherever they stand, though another one means a part of its own by them."""
    owners, users = defaultdict(set), defaultdict(set)
    for sheet, text in sheets.items():
        for selector in selectors(text):
            for name in re.findall(r"\.([a-zA-Z][\w-]*)", selector):
                users[name].add(sheet)
            if bare := re.match(r"\.([a-zA-Z][\w-]*)(?=[\s:>+~]|$)", selector):
                owners[bare[1]].add(sheet)
    return {
        name: sorted(users[name])
        for name, own in owners.items()
        if len(own - {SHARED}) > 1 or (SHARED not in own and users[name] != own)
    }


def test_no_part_of_the_page_is_styled_by_the_sheet_of_another():
    sheets = {path.name: asset(path.name) for path in STATIC.glob("*.css") if path.name not in ELSEWHERE}
    assert clashes(sheets) == {}
    both = {"a.css": ".curves { gap: 1px }", "b.css": ".b .curves svg { width: 1px }", SHARED: ".soft {} .b {}"}
    assert clashes(both) == {"curves": ["a.css", "b.css"]}, "this test can fail"
    assert clashes({"a.css": ".x {}", "b.css": ".x:hover {}"}) == {"x": ["a.css", "b.css"]}


def test_every_class_of_a_sheet_is_used():
    """What no template, script or view names is left over."""
    root = STATIC.parent
    files = [*root.glob("templates/*.html"), *STATIC.glob("*.js"), *root.rglob("*.py")]
    words = set(re.findall(r"[\w-]+", " ".join(path.read_text() for path in files)))
    sheets = list(STATIC.glob("*.css"))
    names = {
        name
        for path in sheets
        for each in selectors(path.read_text())
        for name in re.findall(r"\.([a-zA-Z][\w-]*)", each)
    }
    assert sorted(names - words - {"c0", "c1", "c2", "c3", "c4", "c5", "c6"}) == []
