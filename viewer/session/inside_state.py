"""What a person can change on the pages that look inside models; a part of `ViewState`."""

from __future__ import annotations

import param

__all__ = ["InsideState"]


class InsideState(param.Parameterized):
    """Fields of Behaviours begin with `b_`, those of Layers with `l_`. Which models are shown is `ViewState.selected`."""

    b_rows = param.Selector(default="classes", objects=["classes", "groups", "instances"])
    b_groups = param.List([], item_type=str, doc="one or two attributes whose values, or crossings, are the rows")
    b_measure = param.String("error", doc="what is compared")
    b_relative = param.Boolean(False, doc="changes as ratios of means")
    b_order = param.String("", doc="key of the model whose column the rows are sorted by; empty: the first; `name`")
    b_by = param.Selector(
        default="change", objects=["change", "size", "value"], doc="signed change, its size, or value"
    )
    b_descending = param.Boolean(True)
    b_class = param.String("", doc="only instances of this class")
    b_group = param.String("", doc="only instances of this group")
    b_text = param.String("", doc="only instances with this text in id, label, attribute or answer")
    b_only = param.Selector(default="all", objects=["all", "changed", "broken", "mended", "exemplars", "flagged"])
    b_of = param.String("", doc="key of the model that `b_only` is about; empty: any")
    b_least = param.Integer(2, bounds=(1, None), doc="exemplars: changed in at least so many of the models")
    b_brush = param.List([], item_type=str, doc="ranges on the models' histograms: key~low~high")
    b_matrix = param.String("", doc="key of the model whose flip matrix is open")
    b_from = param.Integer(0, bounds=(0, None), doc="first row on the page")

    l_show = param.Selector(default="weights", objects=["sparsity", "weights", "activations", "numbers"])
    l_stage = param.Selector(default="torch", objects=["torch", "onnx"], doc="of activations: the network, or its file")
    l_flat = param.Boolean(False, doc="a flat list instead of the tree")
    l_open = param.List([], item_type=str, doc="modules of the tree that are opened")
    l_order = param.String("", doc="`name`, `size` or the key of a model")
    l_by = param.String("relative_change", doc="the number that a model's column is sorted by")
    l_descending = param.Boolean(True)
    l_filter = param.String("", doc="regular expression that names must match")
    l_types = param.List([], item_type=str, doc="types of module shown; empty: all")
    l_flagged = param.Boolean(False, doc="only what is flagged, or lies in a flagged module")
    l_from = param.Integer(0, bounds=(0, None), doc="first row on the page")
