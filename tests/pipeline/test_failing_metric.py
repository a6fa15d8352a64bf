"""A metric that raises fails its job by name; the other figures are kept, and it is tried again."""

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
