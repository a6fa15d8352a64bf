"""What an assistant may do, over the protocol by the package's own client, and what it may not."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from pipeline.cli.assistant_tools import AssistantTools
from pipeline.core.errors import BouillonError
from pipeline.store.errors import StoreError
from tests.pipeline.command import CONF, ROOT

RECIPE = {
    "name": "asked",
    "model": "digits_resnet",
    "dataset": "digits",
    "tree": {
        "base": {
            "op": "train",
            "with": {"epochs": 1},
            "then": {"pruned": {"op": "magnitude_prune", "with": {"sparsity": 0.9}}},
        }
    },
}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return AssistantTools(tmp_path / "results.duckdb", tmp_path / "work", CONF)


def session(folder: Path, work):
    """Let a client of the package talk to the server, started as a person would."""
    mcp = pytest.importorskip("mcp")
    server = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "pipeline", "mcp", "--config-dir", str(CONF)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )

    async def talk():
        async with mcp.stdio_client(server) as streams, mcp.ClientSession(*streams) as client:
            await client.initialize()
            return await work(client)

    return asyncio.run(talk())


def told(result):
    """The JSON of an answer."""
    return json.loads(result.content[0].text)


def test_a_session_from_the_first_look_to_a_comparison(tmp_path):
    async def work(client):
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"check_recipe", "plan_recipe", "run_recipe", "query", "compare_models", "explain_findings"} <= names
        wrong = {**RECIPE, "tree": {"base": {"op": "trian"}}}
        checked = told(await client.call_tool("check_recipe", {"recipe": wrong}))
        assert not checked["ok"]
        assert "Did you mean 'train'" in checked["problems"][0]
        settings = ["bench=none", "executor.threads=1"]
        plan = told(await client.call_tool("plan_recipe", {"recipe": RECIPE, "settings": settings}))
        assert [step["path"] for step in plan["steps"]] == ["base", "base/pruned"]
        assert plan["jobs_to_run"] > 2
        done = told(await client.call_tool("run_recipe", {"recipe": RECIPE, "settings": settings}))
        assert done["succeeded"], done
        again = told(await client.call_tool("plan_recipe", {"recipe": RECIPE, "settings": settings}))
        assert again["jobs_to_run"] == 0
        models = told(await client.call_tool("list_models", {}))
        assert [row["model"] for row in models["rows"]] == ["base", "base/pruned"]
        pair = {"candidate": "base/pruned", "reference": "base"}
        changes = told(await client.call_tool("compare_models", pair))["rows"]
        sparsity = next(row for row in changes if row["metric"] == "sparsity")
        assert sparsity["change"] == pytest.approx(sparsity["candidate"] - sparsity["reference"])
        rows = told(await client.call_tool("query", {"sql": "SELECT count(*) AS n FROM models"}))["rows"]
        assert rows == [{"n": 2}]
        odd = told(await client.call_tool("explain_findings", {"model": "base/pruned"}))
        assert set(odd) == {"lints", "layers"}
        failed = await client.call_tool("compare_models", {"candidate": "bsae", "reference": "base"})
        assert failed.is_error
        assert "Did you mean 'base'" in failed.content[0].text
        broken = await client.call_tool("query", {"sql": "SELECT x FROM nowhere"})
        assert broken.is_error
        assert "Traceback" not in broken.content[0].text

    session(tmp_path, work)


def test_a_run_is_stopped_at_its_limit(tools):
    long = {**RECIPE, "tree": {"base": {"op": "train", "with": {"epochs": 5000}}}}
    stopped = tools.run_recipe(long, ["bench=none"], minutes=0.05)
    assert not stopped["finished"]
    assert "What is finished is kept" in stopped["output"]


@pytest.mark.parametrize(
    "setting",
    ["plugins=[mine]", "results=other.duckdb", "workspace=/tmp", "dataset.root=/etc", "model.factory=os:system", "+plugins=[a]",
     "data_folder=/", "force=base", "model=python", "dataset=table", "recipe.name=${oc.env:HOME}"],
)  # fmt: skip
def test_settings_that_reach_beyond_the_recipe_are_refused(tools, setting):
    with pytest.raises(BouillonError, match=r"an assistant cannot set|write the value out"):
        tools.plan_recipe(RECIPE, [setting])
    assert not tools.results.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "${oc.env:HOME}"}, "write the value out"),
        ({"model": {"name": "python", "factory": "os:system"}}, "model: name an entry of conf/"),
        ({"dataset": {"name": "table", "file": "/etc/passwd"}}, "dataset: name an entry of conf/"),
        ({"tree": {"base": {"op": "train", "with": {"model": {"name": "python", "factory": "os:system"}}}}}, "Step 'base'"),
        ({"tree": {"base": {"op": "train", "with": {"model": {"each": [{"factory": "os:system"}]}}}}}, "Step 'base'"),
        ({"tree": {"a": {"op": "train", "then": {"b": {"op": "load", "with": {"model": {"a": 1}}}}}}}, "Step 'b'"),
        ({"defaults": ["/etc/passwd"]}, "only a file can build on others"),
    ],
)  # fmt: skip
def test_recipes_that_would_run_code_or_read_files_are_refused(tools, change, message):
    with pytest.raises(BouillonError, match=message):
        tools.run_recipe({**RECIPE, **change}, ["bench=none"])
    assert not tools.results.exists()


@pytest.mark.parametrize(
    "settings",
    [
        ["recipe.model={name: x, builder: python, factory: 'os:system'}"],
        ["recipe.model.name=x", "recipe.model.builder=python", "recipe.model.factory='os:system'"],
        ["recipe.tree.base.with.model={name: x, builder: python, factory: 'os:system'}"],
        ["recipe.dataset={name: x, dataset: table, file: /etc/passwd}"],
    ],
)
@pytest.mark.parametrize("recipe", ["quickstart", RECIPE], ids=["named", "data"])
def test_settings_cannot_write_entries_either(tools, recipe, settings):
    with pytest.raises(BouillonError, match="an assistant cannot write one"):
        tools.run_recipe(recipe, ["bench=none", *settings])
    assert not tools.results.exists()


def test_a_query_reads_nothing_but_the_results(tools):
    secret = tools.results.parent / "secret.csv"
    secret.write_text("a\n1\n")
    assert tools.run_recipe({**RECIPE, "tree": {"base": RECIPE["tree"]["base"] | {"then": {}}}}, ["bench=none"])[
        "succeeded"
    ]
    for sql in (f"FROM read_csv('{secret}')", f"COPY models TO '{secret}'", "DELETE FROM model", "INSTALL httpfs"):
        with pytest.raises(Exception, match=r"(?i)disabled|cannot|not allowed|permission|read-only|Table|view"):
            tools.query(sql)
    assert secret.read_text() == "a\n1\n"


def test_results_that_are_not_there_are_told(tools):
    with pytest.raises(StoreError, match="No results at"):
        tools.list_models()


def test_recipes_and_operations_are_listed_with_what_they_are_for(tools):
    recipes = {one["name"]: one["description"] for one in tools.list_recipes()}
    assert "digits" in recipes["quickstart"]
    assert "small" in recipes, "those of the person's own folder, too"
    assert (
        tools.list_operations()["magnitude_prune"]["parameters"]["properties"]["sparsity"]["oneOf"][0]["maximum"] == 1
    )
