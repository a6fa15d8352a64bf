"""The page's code: its pure modules under Node's own test runner, and the one script that pages are given."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.viewer.browsing import VIEWER, node, why_not
from viewer.app import _SCRIPTS
from viewer.format import scripts
from viewer.format.metrics import MetricInfo
from viewer.format.scripts import page_script
from viewer.overview.budget_text import parse_bound, shown_units

TESTS = Path(__file__).parent / "js"
needs_node = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


def run(*arguments, **options):
    return subprocess.run([node(), *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@needs_node
def test_the_pure_modules_pass_their_tests():
    files = sorted(TESTS.glob("*.test.js"))
    result = run("--test", "--test-reporter=tap", *files)
    assert result.returncode == 0, result.stdout + result.stderr
    written = sum(len(re.findall(r"^test\(", file.read_text(), re.MULTILINE)) for file in files)
    assert written > 20
    assert f"# pass {written}\n" in result.stdout


@needs_node
@pytest.mark.parametrize(
    "spec",
    [
        MetricInfo("size", unit="B"),
        MetricInfo("latency", unit="s"),
        MetricInfo("accuracy", format=".1%"),
        MetricInfo("parameters", format=","),
    ],
    ids=lambda spec: spec.name,
)
def test_what_a_drag_writes_the_server_reads_as_the_same_bound(spec):
    values = [
        sign * digits * 10.0**power for power in range(-7, 10) for digits in (1, 2.3456, 9.9996) for sign in (1, -1)
    ]
    values = [value for value in values if not spec.is_share or abs(value) <= 1]
    module = json.dumps((VIEWER / "static" / "bounds.js").as_uri())
    code = (
        f"import {{written}} from {module}; const [values, units] = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(values.map((value) => written(value, units))));"
    )
    result = run("--input-type=module", "--eval", code, json.dumps([values, shown_units(spec)]))
    assert result.returncode == 0, result.stderr
    for value, text in zip(values, json.loads(result.stdout), strict=True):
        assert parse_bound(text, "low", spec) == pytest.approx(value, rel=5.1e-4), text


@needs_node
@pytest.mark.parametrize("names", [_SCRIPTS, ("theme.js",)], ids=["page", "theme"])
def test_a_page_is_given_one_script_without_imports(names, tmp_path):
    text = page_script(*names)
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    (tmp_path / "page.cjs").write_text(text)
    result = run("--check", tmp_path / "page.cjs")
    assert result.returncode == 0, result.stderr


@pytest.fixture
def files(monkeypatch):
    files = {}
    monkeypatch.setattr(scripts, "asset", files.__getitem__)
    page_script.cache_clear()
    yield files
    page_script.cache_clear()


@needs_node
def test_modules_keep_their_names_to_themselves_and_run_once_after_what_they_import(files, tmp_path):
    files["count.js"] = (
        "let count = 0;\nlog.push('count');\nexport function next() { return ++count; }\nexport const START = 5;\n"
    )
    files["one.js"] = (
        'import {next, START as from} from "./count.js";\nconst count = "mine";\nlog.push(count, from + next());\n'
    )
    files["two.js"] = 'import {\n  next,\n} from "./count.js";\nlog.push(next());\n'
    (tmp_path / "page.cjs").write_text(
        f"const log = [];\n{page_script('one.js', 'two.js')}\nconsole.log(JSON.stringify([log, typeof count]));"
    )
    assert json.loads(run(tmp_path / "page.cjs").stdout) == [["count", "mine", 6, 2], "undefined"]


def test_modules_in_a_circle_and_what_is_not_exported_are_refused(files):
    files["one.js"] = 'import {b} from "./two.js";\nexport const a = 1;\n'
    files["two.js"] = 'import {a} from "./one.js";\nexport const b = 1;\n'
    with pytest.raises(ValueError, match="in a circle: one -> two -> one"):
        page_script("one.js")
    files["three.js"] = "export default 3;\n"
    with pytest.raises(ValueError, match=r"static/three.js: write another form of 'export default 3;'"):
        page_script("three.js")
    files["four.js"] = 'import {c, d as e} from "./five.js";\n'
    files["five.js"] = "export const c = 1, d = 2;\n"
    with pytest.raises(
        ValueError, match=r"static/four.js imports d as e from static/five.js, which does not export it"
    ):
        page_script("four.js")
