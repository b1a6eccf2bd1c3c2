"""What a fit will hold in memory, and the refusal to start one that does not fit."""

import os
from pathlib import Path

from cvxnn.architectures import Architecture
from cvxnn.errors import MemoryBudgetError

_BASE = 48 * 2**20
"""Bytes of temporaries that do not grow with the data: product blocks, BLAS buffers."""


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
    architecture: Architecture, n: int, d: int, p: int, outputs: int, itemsize: int
) -> int:
    """Return the bytes that a fit holds at its peak, beside the data it was given.

    `n` samples, `d` features (without the bias), `p` gates, numbers of `itemsize` bytes.
    """
    width = d + 1
    data = 2 * n * width * itemsize
    held = architecture.memory(n, width, p, outputs) * itemsize
    bound = (3 * n * outputs + 4 * p * width * outputs) * 8
    return _BASE + data + held + bound + p * n


def require(needed: int, at_hand: int | None = None) -> None:
    """Raise MemoryBudgetError when `needed` bytes exceed what is available."""
    there = available() if at_hand is None else at_hand
    if needed > there:
        raise MemoryBudgetError(
            needed,
            there,
            "use fewer gates (n_gates), pass float32 data, or fit on fewer samples",
        )
