"""Every exception and warning that cvxnn raises on its own account."""

from collections.abc import Iterable


class CvxnnError(Exception):
    """The root of the exceptions below; catch it to catch them all."""


class MemoryBudgetError(CvxnnError, MemoryError):
    """The work would need more memory than there is; raised before anything is allocated."""

    def __init__(self, needed: int, available: int, ways_out: str) -> None:
        """`needed` and `available` in bytes; `ways_out` says what to change."""
        self.needed, self.available = needed, available
        super().__init__(
            f"this needs about {needed / 2**30:.2f} GiB and {available / 2**30:.2f} GiB is "
            f"available; {ways_out}"
        )


class DataChangedError(CvxnnError, ValueError):
    """A file behind a memory map shrank or was written to while it was in use."""


class ModelFormatError(CvxnnError, ValueError):
    """A model file is truncated, altered or of another format."""


class UnsupportedError(CvxnnError, ValueError):
    """A solver or an architecture cannot do what is asked of it; the message says what can."""


class CertificateWarning(UserWarning):
    """The answer is valid but its certificate is weaker than asked for; the message says why."""


def listed(names: Iterable[str]) -> str:
    """Return the names in a row, all but the first twenty as a number."""
    every = list(names)
    more = f" and {len(every) - 20} more" if len(every) > 20 else ""
    return ", ".join(every[:20]) + more
