"""Whether the times of a series are one step apart."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def require_even(times: Any, n: int) -> None:
    """Raise ValueError unless times (n,), numbers or dates, are one step apart.

    A step is a length of time, a number of calendar months, or a business day.

    >>> require_even(np.array(["2024-01-31", "2024-02-29", "2024-03-31"], "M8[D]"), 3)
    >>> require_even([0.0, 0.5, 1.5], 3)
    Traceback (most recent call last):
    ValueError: times go from 0.5 to 1.5 at step 2, where 0.5 is the usual step: ...
    """
    stamps = np.asarray(getattr(times, "values", times))
    if stamps.shape != (n,):
        raise ValueError(
            f"times has shape {stamps.shape} and y has {n} steps; pass one time a step"
        )
    if stamps.dtype.kind not in "Miuf":
        stamps = stamps.astype("datetime64[us]")
    if (np.isnat(stamps) if stamps.dtype.kind == "M" else np.isnan(stamps)).any():
        raise ValueError("times holds NaN or NaT; give every step its time")
    if n < 2 or any(map(_even, _clocks(stamps))):
        return
    steps = np.diff(stamps)
    found, counts = np.unique(steps, return_counts=True)
    usual = found[counts.argmax()]
    at = int(np.flatnonzero(steps != usual)[0]) if len(found) > 1 else 0
    raise ValueError(
        f"times go from {stamps[at]} to {stamps[at + 1]} at step {at + 1}, where {usual} is the "
        "usual step: sort them, put the series on an even grid with NaN where a step is missing, "
        "and pass missing='skip'"
    )


def _even(clock: NDArray[Any]) -> bool:
    steps = np.diff(clock).astype(np.float64)
    return bool(steps[0] > 0 and (np.abs(steps - steps[0]) <= 1e-6 * steps[0]).all())


def _clocks(stamps: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the times (n,) as they are, and dates in calendar months and in business days."""
    yield stamps
    if stamps.dtype.kind != "M":
        return
    days = stamps.astype("datetime64[D]")
    if len(np.unique(stamps - days)) > 1:
        return
    months = days.astype("datetime64[M]")
    ends = ((days + 1).astype("datetime64[M]") > months).all()
    if ends or len(np.unique(days - months.astype("datetime64[D]"))) == 1:
        yield months
    if np.is_busday(days).all():
        yield np.busday_count(days[0], days)
