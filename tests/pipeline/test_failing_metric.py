"""A metric that raises fails its job by name; the other figures are kept, and it is tried again."""

import pytest

from tests.pipeline.command import Place

PLUGIN = """\
from pathlib import Path

from pipeline.measure.metrics.api import Better, Predictions, metric


@metric(unit="", better=Better.NEITHER)
def moody(predictions: Predictions) -> float:
    if not Path({mended!r}).exists():
        raise KeyError("oops")
    return 7.0
"""


@pytest.mark.matrix
def test_the_others_are_kept_and_it_is_tried_again(tmp_path):
    mended = tmp_path / "mended"
    (tmp_path / "moody_plugin.py").write_text(PLUGIN.format(mended=str(mended)))
    place = Place(tmp_path)  # it runs in this folder, which `python -m` searches for modules first
    words = ["recipe=small", "bench=none", "plugins=[moody_plugin]", "~recipe.tree.base.then"]
    figures = "SELECT DISTINCT metric FROM measurements WHERE metric IN ('accuracy', 'file_bytes', 'moody') ORDER BY 1"
    code, _, err = place.run(*words)
    assert code == 1, err
    assert "failed   base (measure): metric 'moody': KeyError: 'oops'" in err
    assert place.sql(figures) == [("accuracy",), ("file_bytes",)]
    ((error,),) = place.sql("SELECT error FROM steps WHERE outcome = 'failed'")
    assert error == f"metric 'moody': KeyError: 'oops' ({tmp_path / 'moody_plugin.py'}:9). The other metrics are kept"
    mended.touch()
    assert place.run(*words)[0] == 0
    assert place.sql(figures) == [("accuracy",), ("file_bytes",), ("moody",)]


TIMED_PLUGIN = """\
from pathlib import Path

from pipeline.measure.lints.api import lint
from pipeline.measure.metrics.api import Better, Timings, metric


@metric(unit="", better=Better.NEITHER)
def moody(evidence: Timings) -> float:
    if not Path({mended!r}).exists():
        raise KeyError("oops")
    return 7.0


@lint
def gloomy(subject):
    raise ValueError("it rains")
"""


@pytest.mark.matrix
def test_timings_are_kept_where_a_metric_of_them_raises(tmp_path):
    """Under the quick preset both the rough figure and the session at the end compute it."""
    mended, plugin = tmp_path / "mended", tmp_path / "moody_plugin.py"
    plugin.write_text(TIMED_PLUGIN.format(mended=str(mended)))
    place = Place(tmp_path)
    words = ["recipe=small", "bench=smoke", "plugins=[moody_plugin]", "~recipe.tree.base.then"]
    figures = (
        "SELECT DISTINCT metric FROM measurements WHERE metric IN ('latency_p50', 'load_time', 'moody') ORDER BY 1"
    )
    code, out, err = place.run(*words)
    assert code == 1, err
    assert "Traceback" not in err
    assert place.sql(figures) == [("latency_p50",), ("load_time",)]
    failed = place.sql("SELECT job, error FROM steps WHERE outcome = 'failed' ORDER BY ALL")
    error = f"metric 'moody': KeyError: 'oops' ({plugin}:10). The other metrics are kept"
    assert failed == [("latency", error), ("timing", error)]
    assert "failed   base (latency): metric 'moody': KeyError: 'oops'" in err
    assert [row.split()[:2] for row in out.splitlines() if "metric 'moody'" in row] == [
        ["base", "latency"], ["base", "timing"],
    ]  # fmt: skip
    ((runs,),) = place.sql("SELECT runs FROM timings")
    assert runs >= 11
    assert "lint 'gloomy' failed: ValueError: it rains" in " ".join((out + err).split())
    mended.touch()
    assert place.run(*words)[0] == 0
    assert place.sql(figures) == [("latency_p50",), ("load_time",), ("moody",)]
