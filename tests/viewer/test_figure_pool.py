"""Spare plots: made ahead, given away once."""

from bokeh.document import Document

from viewer.map.figures import FigurePool, fill_pools, map_plot, scatter_plot


def test_a_spare_is_given_away_once_and_then_made_anew():
    made = iter(range(9))
    pool = FigurePool(lambda: next(made), most=2)
    pool.fill()
    pool.fill()
    assert next(made) == 2
    assert [pool.take(), pool.take(), pool.take()] == [0, 1, 3]


def test_visitors_share_no_plot():
    fill_pools()
    plots = [plot for _ in range(3) for plot in (map_plot(), scatter_plot())]
    models = [model for plot in plots for model in plot.figure.references()]
    assert len(models) == len({id(model) for model in models})
    for plot in plots:
        document = Document()
        document.add_root(plot.figure)
        document.validate()
