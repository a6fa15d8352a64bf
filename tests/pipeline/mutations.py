"""Mutants of the real recipes: broken as text and as trees, in ways that people and programs break files.

Unlike generated recipes, which are built from the grammar up, mutants begin with what is right. The number of a mutant
decides all about it.
"""

import random
import re
from functools import cache

import yaml

from tests.pipeline.command import ROOT

ODD_TEXTS = [
    "&a ", "*a", "*b", "<<: *a", "!!python/object/apply:os.system [id]", "!!binary aGk=", "!x ", "---\n", "...\n", "%YAML 1.2\n",
    "\t", "\r\n", "\0", "\ufeff", "\u2028", "\x85", "\x07", "é", "🍲", "\u202e", "'", '"', "{", "}", "[", "]", ":", ": ", "- ",
    "#", ",", "? ", "|\n", ">\n", "@", "`", "%", "${", "${.}", "${recipe}", "${recipe.tree}", "${oc.env:NO_SUCH_VARIABLE}",
    "${oc.select:recipe,1}", "${..name}", "${nothing.here}", "???", "null", "~", "yes", "1e999", ".nan", "-.inf", "0x10",
    "1_000", "12:30:45", "2026-11-30", "9" * 400, "9" * 5000, "[" * 400, "{a: " * 200, "a" * 3000, "\\", "\\x", "\\ud800",
]  # fmt: skip
ODD_VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, 10**299, 0.0, -0.5, 1e-320, 1e308, float("nan"), float("inf"), "",
    " ", "a b", "a/b", "a.b", "a\nb", "ä", "🍲", "\u202eabc", "x" * 2000, "???", "${.}", "${recipe.name}", "${recipe.tree}", "${x",
    "\\${x}", "each", [], {}, [[]], [None], [{}], {"each": []}, {"each": [1, 1]}, {"each": [1, "1"]}, {"each": list(range(300))},
    {"each": [[1], {}]}, {"op": "train"}, {"op": "quantize", "with": {"method": "dynamic"}}, {"a": {"b": {"c": {}}}}, ["base"],
    "base", "load", "../x", "/etc/passwd", "digits", "NO", "1e3", "0o17", "2026-11-30",
]  # fmt: skip
ODD_NAMES = [
    "",
    " ",
    "a/b",
    "a[0]",
    "a.b",
    "a\nb",
    "🍲",
    "ä",
    "x" * 300,
    "op",
    "with",
    "then",
    "each",
    "null",
    "1",
    "${x}",
    "-",
]


@cache
def sources() -> tuple[str, ...]:
    """Texts of the real recipes, on data that every machine has."""
    files = sorted((ROOT / "conf" / "recipe").glob("*.yaml"))
    return tuple(re.sub(r"(?m)^dataset: .*$", "dataset: digits", file.read_text(encoding="utf-8")) for file in files)


def mutant(number: int) -> bytes:
    """The content of a recipe file."""
    chance = random.Random(number)
    text = chance.choice(sources())
    if chance.random() < 0.5:
        text = _mutated_tree(text, chance)
    else:
        for _ in range(chance.choice([1, 1, 1, 3])):
            text = chance.choice(TEXT_MUTATIONS)(text, chance)
    content = text.encode("utf-8", "surrogatepass")
    return chance.choice([content[: len(content) // 2], b"\xff\xfe" + content]) if chance.random() < 0.02 else content


def _lines(change):
    def mutate(text, chance):
        lines = text.splitlines(keepends=True) or ["\n"]
        change(lines, chance.randrange(len(lines)), chance)
        return "".join(lines)

    return mutate


def _swap(lines, place, chance):
    other = chance.randrange(len(lines))
    lines[place], lines[other] = lines[other], lines[place]


def _swap_values(lines, place, chance):
    other = chance.randrange(len(lines))
    (key, mark, value), (key2, mark2, value2) = lines[place].partition(":"), lines[other].partition(":")
    lines[place], lines[other] = key + mark + (value2 or "\n"), key2 + mark2 + (value or "\n")


def _indent(lines, place, chance):
    lines[place] = chance.choice([" ", "  ", "\t", "        "]) + lines[place]


def _dedent(lines, place, chance):
    lines[place] = lines[place][chance.randint(1, 4) :]


def _splice(lines, place, chance):
    other = chance.choice(sources()).splitlines(keepends=True)
    start = chance.randrange(len(other))
    lines[place:place] = other[start : start + chance.randint(1, 12)]


def _insert(text, chance):
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.choice(ODD_TEXTS) + text[place:]


def _replace_token(text, chance):
    tokens = list(re.finditer(r"[\w.\-]+|[^\w\s]", text))
    if not tokens:
        return text
    token = chance.choice(tokens)
    other = chance.choice([*ODD_TEXTS, "", chance.choice(tokens).group()])
    return text[: token.start()] + other + text[token.end() :]


def _anchor(text, chance):
    """Give a key's value an anchor, and use it elsewhere."""
    keys = [match.end() for match in re.finditer(r":(?= )", text)]
    if len(keys) < 2:
        return text
    first, second = sorted(chance.sample(keys, 2))
    return f"{text[:first]} &m{text[first:second]} *m\n{text[second:]}"


TEXT_MUTATIONS = [
    _lines(lambda lines, place, chance: lines.pop(place)),
    _lines(lambda lines, place, chance: lines.insert(place, lines[place])),
    _lines(_swap),
    _lines(_swap_values),
    _lines(_indent),
    _lines(_dedent),
    _lines(_splice),
    _insert,
    _insert,
    _replace_token,
    _replace_token,
    _anchor,
    lambda text, chance: text[: chance.randrange(len(text) + 1)],
    lambda text, chance: text.replace("\n", "\r\n"),
    lambda text, chance: text.replace("  ", "\t", chance.randint(1, 5)),
]


def _mutated_tree(text, chance):
    data = yaml.safe_load(text)
    for _ in range(chance.choice([1, 1, 1, 3])):
        chance.choice(TREE_MUTATIONS)(data, chance)
    if len([*_places(data)]) > 3000:
        return text  # grown by copies of copies: trees of many steps have tests of their own
    return yaml.safe_dump(
        data, allow_unicode=chance.random() < 0.5, sort_keys=False, default_flow_style=chance.random() < 0.3
    )


def _places(data):
    """(container, key) of every value below the top, as far as they are near enough to be written."""
    waiting = [(data, 0)]
    while waiting:
        one, depth = waiting.pop()
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            yield one, key
            if isinstance(one[key], dict | list):
                waiting.extend([(one[key], depth + 1)] if depth < 60 else [])


def _place(data, chance):
    return chance.choice([*_places(data)] or [(data, "name")])


def _put(data, chance):
    inside, key = _place(data, chance)
    inside[key] = chance.choice(ODD_VALUES)


def _remove(data, chance):
    inside, key = _place(data, chance)
    if isinstance(inside, dict):
        inside.pop(key, None)
    elif inside:
        del inside[key]


def _exchange(data, chance):
    (one, key), (other, key2) = _place(data, chance), _place(data, chance)
    value, value2 = yaml.safe_load(yaml.safe_dump([one.get(key) if isinstance(one, dict) else one[key],
                                                   other.get(key2) if isinstance(other, dict) else other[key2]]))  # fmt: skip
    one[key], other[key2] = value2, value


def _wrap(data, chance):
    inside, key = _place(data, chance)
    value = inside.get(key) if isinstance(inside, dict) else inside[key]
    inside[key] = chance.choice(
        [[value], {"each": [value, value]}, {"each": value}, {"then": value}, str(value), {key: value}]
    )


def _rename(data, chance):
    inside, key = _place(data, chance)
    if isinstance(inside, dict) and key in inside:
        inside[chance.choice(ODD_NAMES)] = inside.pop(key)


def _copy(data, chance):
    """A part of this or another recipe, somewhere else."""
    source = yaml.safe_load(chance.choice(sources()))
    inside, key = _place(source, chance)
    value = inside.get(key) if isinstance(inside, dict) else inside[key]
    target, name = _place(data, chance)
    if isinstance(target, dict):
        target[chance.choice([name, "other", *ODD_NAMES])] = value
    else:
        target.append(value)


def _deepen(data, chance):
    inside, key = _place(data, chance)
    value = inside.get(key) if isinstance(inside, dict) else inside[key]
    for _ in range(chance.choice([3, 20, 60])):
        value = chance.choice([[value], {"op": "magnitude_prune", "with": {"sparsity": 0.5}, "then": {"n": value}}])
    inside[key] = value


TREE_MUTATIONS = [_put, _put, _remove, _exchange, _wrap, _rename, _copy, _deepen]
