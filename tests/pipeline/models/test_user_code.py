"""The user's own code is part of a model's identity: what is found, and that nothing is run."""

import subprocess
import sys

import pytest

from pipeline.core.user_code import code_of
from pipeline.models import storage
from pipeline.models.api import ModelError
from pipeline.models.build import build
from pipeline.models.identity import content_of
from tests.pipeline.models.conftest import PICTURES, entry

_RUNS = 'raise RuntimeError("this must not run")\n'


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files of a person's own project, which Python can import from."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(**sources):
        for name, source in sources.items():
            file = tmp_path / (
                name.replace("__", "/").removesuffix("/") + ("/__init__.py" if name.endswith("__") else ".py")
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)

    return make


def test_other_code_of_a_factory_is_another_model(write, tmp_path):
    write(own_nets=_RUNS)
    before = content_of(entry("python", factory="own_nets:make"), tmp_path)
    assert before == content_of(entry("python", factory="own_nets:other"), tmp_path)
    write(own_nets=_RUNS + "# changed")
    assert before != content_of(entry("python", factory="own_nets:make"), tmp_path)
    assert content_of(entry("huggingface", factory="own_nets:make"), tmp_path) is None


@pytest.mark.parametrize(
    "changed",
    [
        "own__",
        "own__nets__",
        "own__nets__make",
        "own__blocks",
        "own__blocks2",
        "beside",
        "lazily",
        "own__deep__end",
    ],
)
def test_every_module_that_it_may_import_counts(write, changed):
    write(
        own__=_RUNS,
        own__nets__=_RUNS,
        own__nets__make="import beside\nfrom ..blocks import Block\nfrom .. import blocks2\n",
        own__blocks="def block():\n    import lazily\n",
        own__blocks2="import own.deep.end as end\n",
        beside=_RUNS,
        lazily="from beside import own\n",
        own__deep__end=_RUNS,
        other=_RUNS,
    )
    before = code_of("own.nets.make:net")
    write(other="changed")
    assert code_of("own.nets.make:net") == before
    write(**{changed: "import beside, lazily\nfrom own import blocks, blocks2\n# changed\n"})
    assert code_of("own.nets.make:net") != before


def test_the_place_of_the_code_does_not_count(tmp_path, monkeypatch):
    found = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "placed_nets.py").write_text(_RUNS)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / place)
            found.append(code_of("placed_nets:make"))
    assert found[0] == found[1] is not None


@pytest.mark.parametrize(
    "factory",
    ["torch.nn:Linear", "json:loads", "pipeline.models.build:build", "no.such:thing", "???", "", ".x:y", "a..b:c"],
)
def test_what_is_not_the_users_own_has_no_digest(factory):
    assert code_of(factory) is None


def test_code_that_python_cannot_read_counts_too(write):
    write(broken_nets="def (")
    before = code_of("broken_nets:make")
    write(broken_nets="def [")
    assert None is not before != code_of("broken_nets:make")


def test_weights_never_run_in_changed_code(write, tmp_path):
    """A recipe may hold a model entry itself, whose code the key does not see."""
    source = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))\n"
    write(changing_nets=source)
    folder = tmp_path / "model"
    folder.mkdir()
    storage.save(build(entry("python", factory="changing_nets:make"), PICTURES), folder)
    (folder / "manifest.json").write_text('{"path": "base"}')
    assert storage.load(folder).module is not None
    write(changing_nets=source.replace("nn.Flatten()", "nn.ReLU(), nn.Flatten()"))
    with pytest.raises(ModelError, match=r"code of changing_nets:make is not what .* make it again with force=base"):
        storage.load(folder)


def test_nothing_is_imported(write, tmp_path):
    write(own__=_RUNS, own__nets=_RUNS)
    script = "import sys; from pipeline.core.user_code import code_of; print(code_of('own.nets:x')); assert 'own' not in sys.modules"
    paths = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    done = subprocess.run([sys.executable, "-c", paths + script], capture_output=True, text=True, check=True)
    assert len(done.stdout.strip()) == 64
