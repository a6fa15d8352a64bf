"""The script that `panel serve viewer` executes, once per visitor. Keep it this short."""

import sys

from bokeh.io import curdoc

from viewer.app import open_app

open_app(curdoc(), sys.argv[1:])
