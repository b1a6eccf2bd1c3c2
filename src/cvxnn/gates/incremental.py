"""Every cell of an arrangement, adding one hyperplane after another."""

import numpy as np

from cvxnn.gates.arrangement import interior
from cvxnn.gates.base import Floats, Masks

ROOM = 1e-6
"""A unit point this far from a hyperplane is on its own side of it beyond doubt."""


def half_cells(normals: Floats) -> tuple[Masks, Floats]:
    """Return the cells on the positive side of the first hyperplane, with a point inside each.

    Unit `normals` (q, r), pairwise not parallel, r >= 1, give sides (p / 2, q) and points
    (p / 2, r); the other cells are the mirror images. A cell's point settles the side of the new
    hyperplane that it is on, and `interior` looks for one on the other side: at most q * p
    searches, whatever the rank and however degenerate the data.
    """
    cells, points = np.ones((1, 1), dtype=np.bool_), normals[:1]
    for known in range(1, len(normals)):
        front = _on_side(cells, points, normals[:known], normals[known])
        back = _on_side(cells, points, normals[:known], -normals[known])
        sides = np.arange(len(front[0]) + len(back[0])) < len(front[0])
        cells = np.column_stack([np.concatenate([front[0], back[0]]), sides])
        points = np.concatenate([front[1], back[1]])
    return cells, points


def _on_side(cells: Masks, points: Floats, normals: Floats, inward: Floats) -> tuple[Masks, Floats]:
    """Return the cells that reach into {w : inward . w > 0} and a point of each in there."""
    found = points.copy()
    reached = points @ inward > ROOM
    for i in np.flatnonzero(~reached):
        signed = np.where(cells[i, :, None], normals, -normals)
        point = interior(np.concatenate([signed, inward[None]]))
        if point is not None:
            found[i], reached[i] = point, True
    return cells[reached], found[reached]
