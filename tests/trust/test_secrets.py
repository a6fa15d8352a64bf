"""Values from the environment are used, and written down as the reference: in the store, artifacts and messages."""

import json
from dataclasses import replace

import pytest

from pipeline.cli.configuration.compose import compose
from pipeline.cli.main import run
from pipeline.core import secret_values
from pipeline.core.artifacts import ArtifactStore
from pipeline.models import storage
from pipeline.store.writer import Store
from tests.pipeline.models.conftest import PICTURES, entry
from tests.pipeline.store.facts import DATA, GROUND, RUN, model, step

SECRET = "s3cr3t-'token\"/with odd+signs"
REFERENCE = "${oc.env:BOUILLON_TEST_TOKEN}"


@pytest.fixture
def token(monkeypatch):
    """A secret that a configuration refers to."""
    monkeypatch.setenv("BOUILLON_TEST_TOKEN", SECRET)
    monkeypatch.delenv("BOUILLON_SECRET_VARIABLES", raising=False)
    secret_values.note({"dataset": {"path": f"https://user:{REFERENCE}@host/data"}})
    return SECRET


def bytes_below(folder):
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_the_store_has_the_reference(token, tmp_path):
    store = Store(tmp_path / "results.duckdb")
    config = {"dataset": {"path": f"https://user:{token}@host/data", "list": [token, {"deep": token}]}}
    store.write(
        [
            *GROUND[1:],
            replace(RUN, config=config),
            replace(DATA, dataset_key="data2", entry={"token": token}),
            replace(model("base"), params={"model": {"token": token}}, notes={"from": f"of {token}"}),
            step(
                "base", outcome="failed", error=f"HTTP 401 for {token}", traceback=f"line\nheaders={{'x': {token!r}}}"
            ),
        ]
    )
    store.publish()
    store.close()
    assert secret_values.hidden(json.dumps(token)) == f'"{REFERENCE}"'
    content = bytes_below(tmp_path)
    assert b"s3cr3t" not in content
    assert REFERENCE.encode() in content


def test_an_artifact_has_the_reference_and_is_read_with_the_value(token, tmp_path):
    network = build_small()
    network.architecture = replace(network.architecture, arguments={**network.architecture.arguments, "token": token})
    artifacts = ArtifactStore(tmp_path)
    with artifacts.publish("ab" * 32, {"params": {"token": token}}) as folder:
        storage.save(network, folder)
    assert b"s3cr3t" not in bytes_below(tmp_path)
    assert artifacts.manifest("ab" * 32)["params"] == {"token": REFERENCE}
    assert storage.load_architecture(artifacts.path("ab" * 32)).arguments["token"] == token


def test_a_reference_that_the_configuration_does_not_make_is_not_followed(token, tmp_path, monkeypatch):
    """A model of somebody else's must not have the environment read."""
    monkeypatch.setenv("ANOTHER_TOKEN", "private")
    network = build_small()
    network.architecture = replace(network.architecture, arguments={"token": "${oc.env:ANOTHER_TOKEN}"})
    storage.save(network, tmp_path)
    assert storage.load_architecture(tmp_path).arguments["token"] == "${oc.env:ANOTHER_TOKEN}"


def build_small():
    from pipeline.models.build import build

    return build(entry("depthwise_cnn"), PICTURES)


def test_a_message_has_the_reference(monkeypatch, capsys):
    monkeypatch.setenv("BOUILLON_TEST_TOKEN", "hunter2")
    assert run(["recipe=quickstart", f"batch_size={REFERENCE}"]) == 2
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
    assert f"(got '{REFERENCE}')" in said.err


def test_composing_notes_the_variables_and_gives_the_values(monkeypatch):
    monkeypatch.setenv("BOUILLON_TEST_TOKEN", "hunter2")
    raw, _ = compose(["recipe=quickstart", f"++dataset.path=a/{REFERENCE}/b"])
    assert raw["dataset"]["path"] == "a/hunter2/b"
    assert secret_values.variables() == ["BOUILLON_TEST_TOKEN"]
    assert secret_values.hidden(raw)["dataset"]["path"] == f"a/{REFERENCE}/b"
    compose(["recipe=quickstart"])
    assert secret_values.variables() == []
    assert secret_values.hidden("hunter2") == "hunter2"


def test_a_variable_whose_name_is_a_reference_too_is_noted(monkeypatch, tmp_path):
    monkeypatch.setenv("BOUILLON_TEST_TOKEN", "hunter2-long")
    monkeypatch.setenv("BOUILLON_TEST_WHICH", "BOUILLON_TEST_TOKEN")
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(
        "name: mine\ndescription: a/${oc.env:${oc.env:BOUILLON_TEST_WHICH}}\ntree: {base: {op: train}}\n"
    )
    raw, _ = compose(["recipe=mine"], extra=tmp_path)
    assert raw["recipe"]["description"] == "a/hunter2-long"
    assert secret_values.hidden(raw)["recipe"]["description"] == f"a/{REFERENCE}"
    secret_values.forget()


@pytest.mark.parametrize(
    ("value", "text", "hidden"),
    [
        ("hunter2", "hunter2", REFERENCE),
        ("hunter2", "as hunter2:x", f"as {REFERENCE}:x"),
        ("hunter2", "the hunter2s", "the hunter2s"),
        ("hunter2-long", "thehunter2-longs", f"the{REFERENCE}s"),
        ("on", "on", REFERENCE),
        ("on", "on and on", "on and on"),
        ("", "", ""),
        ("a b+c/defgh", "a%20b%2Bc%2Fdefgh", REFERENCE),
    ],
)
def test_what_is_hidden(monkeypatch, value, text, hidden):
    monkeypatch.setenv("BOUILLON_TEST_TOKEN", value)
    monkeypatch.delenv("BOUILLON_SECRET_VARIABLES", raising=False)
    secret_values.note(REFERENCE)
    assert secret_values.hidden(text) == hidden
    secret_values.forget()
