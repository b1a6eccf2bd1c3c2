"""Figures: displays that are made from what was fitted, and drawn with matplotlib."""

from cvxnn.display.curves import MarginDisplay, PathDisplay, RegimesDisplay, require_matplotlib
from cvxnn.display.images import AttentionDisplay, FiltersDisplay, StagesDisplay, mosaic

__all__ = [
    "AttentionDisplay",
    "FiltersDisplay",
    "MarginDisplay",
    "PathDisplay",
    "RegimesDisplay",
    "StagesDisplay",
    "mosaic",
    "require_matplotlib",
]
