"""Spare plots: made ahead, given away once."""

from bokeh.document import Document

from viewer.map.figures import fill_spares, map_plot, scatter_plot
from viewer.map.spares import Spares


def test_a_spare_is_given_away_once_and_then_made_anew():
    made = iter(range(9))
    spares = Spares(lambda: next(made), most=2)
    spares.fill()
    spares.fill()
    assert next(made) == 2
    assert [spares.take(), spares.take(), spares.take()] == [0, 1, 3]


def test_visitors_share_no_plot():
    fill_spares()
    plots = [plot for _ in range(3) for plot in (map_plot(), scatter_plot())]
    models = [model for plot in plots for model in plot.figure.references()]
    assert len(models) == len({id(model) for model in models})
    for plot in plots:
        document = Document()
        document.add_root(plot.figure)
        document.validate()
