"""What a fit will hold in memory, and the refusal to start one that does not fit."""

import os
from pathlib import Path

from cvxnn.architectures.base import Sizes
from cvxnn.errors import MemoryBudgetError
from cvxnn.everywhere.neurons import MOST_CURVED, MOST_PAIRED
from cvxnn.everywhere.price import ROOM
from cvxnn.everywhere.splines import MOST_KINKS
from cvxnn.solve import Solver
from cvxnn.solvers import Direct, Subspace
from cvxnn.streamed import CELLS, LARGE, MOST_CELLS

_BASE = 72 * 2**20
"""Bytes of temporaries that do not grow with the data: product blocks, BLAS buffers."""
_SMALL = 8 * 2**20
"""The same where no products are made in blocks."""


def available() -> int:
    """Return the bytes that a process may still take: the system's, or its control group's."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def predict(
    sizes: Sizes,
    solver: Solver,
    *,
    n: int,
    d: int,
    p: int,
    itemsize: int,
    by_blocks: bool = False,
) -> int:
    """Return the bytes that a fit holds at its peak, beside the data that it was given.

    `n` samples, `d` features with the bias, `p` gates, numbers of `itemsize` bytes. Points are
    counted in float64, as certificates need them. `by_blocks`: the data are `Streamed`.
    """
    masks = 3 * p * n  # one byte each, while equal patterns are sought
    blocks, rows = solver.copies
    points = 8 * ((blocks + 4) * sizes.blocks + rows * sizes.rows)
    if by_blocks:  # a product's blocks, and scores (n, c) instead of systems
        outputs = sizes.blocks // max(1, p * d)
        width = p * outputs
        block = min(max(CELLS, d * width), MOST_CELLS, n * max(d, width))
        cells = 4 * block + 16 * n * outputs
        system = solver.workspace(n, d, p) if isinstance(solver, Direct | Subspace) else 0
        return _BASE + masks + points + 8 * (cells + system)
    large = sizes.rows == 0 and n * p * itemsize >= LARGE
    lift = LARGE if large else sizes.lift * itemsize + 8 * sizes.wide
    data = 3 * n * d * itemsize
    return _BASE + data + masks + lift + points + 8 * solver.workspace(n, d, p)


def of_growth(n: int, d: int) -> int:
    """Return the bytes that growing a network holds at its peak, with up to 500 neurons at a time.

    `n` samples, `d` features with the bias: the neurons' products, candidates while they are
    priced, pairs of samples and the rows' outer products where they are kept.
    """
    neurons, d = min(500, n), min(n, d)
    candidates = 2 * (2048 + neurons)
    pairs = n * n if n <= MOST_PAIRED else 0
    squares = n * d * d if n * d * d <= 2e7 else 0
    single = 3 * pairs + squares + 3 * min(n * candidates, ROOM)
    curved = min(neurons * d * d, MOST_CURVED)
    return _BASE + 8 * (4 * n * d + 8 * n * neurons + 3 * curved) + 4 * single


def of_patches(rows: int, h: int) -> int:
    """Return the bytes that it takes to find the equal ones of patches (rows, h)."""
    return _BASE + 8 * rows * (5 * h + 6)


def of_splines(n: int) -> int:
    """Return the bytes that a spline of `n` samples holds: its hinges, while kinks are refined."""
    return _SMALL + 3 * 8 * n * min(MOST_KINKS, n)


def of_lines(n: int) -> int:
    """Return the bytes that score matching on a line holds: a conic program and its factor."""
    return _SMALL + 30_000 * n


def of_columns(n: int, width: int, outputs: int) -> int:
    """Return the bytes that score matching by gates holds.

    The columns (n, width) of all gates twice, the Gram matrix of the smaller side and its vectors,
    and points in samples and columns for every output.
    """
    side = min(n, width)
    return _BASE + 8 * (3 * n * width + 4 * side**2 + 12 * (n + width) * outputs)


def of_quantised(n: int, d: int) -> int:
    """Return the bytes that the relaxation of quantised networks holds.

    The factor of the interior point's systems, which the forms' moments make dense: numbers and
    places in `n` samples and four triangles of order `d`, the bias counted.
    """
    side = n + 2 * d * (d + 1)
    return _SMALL + 14 * side**2


_WAYS_OUT = "use fewer gates (n_gates), pass float32 data, or fit on fewer samples"


def require(needed: int, at_hand: int | None = None, ways_out: str = _WAYS_OUT) -> None:
    """Raise MemoryBudgetError when `needed` bytes exceed what is available."""
    there = available() if at_hand is None else at_hand
    if needed > there:
        raise MemoryBudgetError(needed, there, ways_out)
