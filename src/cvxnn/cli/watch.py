"""One live line on a terminal: what is being done, the gap, the neurons, the seconds."""

import time
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from cvxnn.arrays import to_numpy
from cvxnn.solve import Progress


class Watch:
    """A line that is drawn ten times a second; nothing where there is no terminal."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._doing, self._begin = "", time.perf_counter()
        self._event: Progress | None = None
        self._counted: tuple[Progress | None, int] = (None, 0)
        self._spinner = Spinner("dots", style="cyan")
        self._live = None
        if console.is_terminal and not quiet:
            self._live = Live(
                get_renderable=self._line, console=console, refresh_per_second=10, transient=True
            )

    def __enter__(self) -> "Watch":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def doing(self, what: str) -> None:
        """Say what is being done from here on."""
        self._doing = what

    def __call__(self, event: Progress) -> None:
        """Take a report of the solver; it is looked at when the line is next drawn."""
        self._event = event

    def _line(self) -> Any:
        seconds = f"{time.perf_counter() - self._begin:.1f} s"
        if self._event is None:
            text = Text.assemble(self._doing, ("   " + seconds, "dim"))
        else:
            if self._counted[0] is not self._event:
                self._counted = (self._event, neurons(self._event))
            text = Text.assemble(
                "training",
                ("   relative gap ", "dim"),
                f"{self._event.certificate.relative_gap:.1e}",
                ("   neurons ", "dim"),
                f"{self._counted[1]:,}",
                ("   " + seconds, "dim"),
            )
        self._spinner.update(text=text)
        return self._spinner


def neurons(event: Progress) -> int:
    """Return how many blocks are not zero."""
    lengths = np.linalg.norm(to_numpy(event.iterate.blocks), axis=(1, 2))
    return int(np.count_nonzero(lengths > 1e-12 * lengths.max(initial=0.0)))
