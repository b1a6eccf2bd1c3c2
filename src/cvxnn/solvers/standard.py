"""Cone programs in matrices: for systems that are no `Program`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxnn.errors import CvxnnError

Floats = NDArray[np.float64]


def conic(
    square: Floats,
    cost: Floats,
    rows: list[tuple[Any, Floats, str]],
    cones: Any,
    sizes: list[tuple[str, int]],
    shift: Floats | None = None,
) -> Any:
    """Return Clarabel's answer for the variables that have cones x - shift in `sizes`.

    `rows` are (matrix, right side, "zero" for equal or "nonnegative" for at most).
    """
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.presolve_enable = False
    settings.chordal_decomposition_enable = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
    kinds = {
        "zero": clarabel.ZeroConeT,
        "nonnegative": clarabel.NonnegativeConeT,
        "second order": clarabel.SecondOrderConeT,
        "psd": clarabel.PSDTriangleConeT,
    }
    every = [(kind, len(right)) for _, right, kind in rows] + sizes
    matrix = sparse.vstack([*(matrix for matrix, _, _ in rows), -cones], format="csc")
    right = np.concatenate(
        [*(right for _, right, _ in rows), -(np.zeros(cones.shape[0]) if shift is None else shift)]
    )
    answer = clarabel.DefaultSolver(
        sparse.csc_matrix(sparse.diags_array(square)),
        cost,
        sparse.csc_matrix(matrix),
        right,
        [kinds[kind](size) for kind, size in every if size > 0],
        settings,
    ).solve()
    good = ("Solved", "AlmostSolved", "InsufficientProgress")
    if str(answer.status) not in good or not np.isfinite(answer.x).all():
        raise CvxnnError(
            f"Clarabel ended with {answer.status}; standardise the "
            "samples, use fewer of them, or raise alpha"
        )
    return answer
