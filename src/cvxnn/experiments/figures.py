"""One style for every figure; matplotlib is imported when a figure is drawn, not before."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from cvxnn.errors import UnsupportedError

INK, GREY, PALE = "#222222", "#767676", "#e9e9e9"
BLUE, RED, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#c97b00", "#9b4f96"
"""Colours that the colour-blind tell apart, after Okabe and Ito; blue is ours or the network's."""

STYLE: Any = {
    "font.size": 9.0,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titlepad": 9.0,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.12,
    "lines.linewidth": 1.4,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "savefig.dpi": 200,
}

P = ParamSpec("P")
T = TypeVar("T")


def require_matplotlib() -> None:
    """Raise UnsupportedError, before any work, where no figure can be drawn."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            "an experiment draws its figure with matplotlib, which is not installed; install "
            "cvxnn[plot]"
        ) from error


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Let a function draw in the house's style."""

    @wraps(draw)
    def within_style(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            return draw(*args, **kwargs)

    return within_style


def canvas(rows: int, columns: int, size: tuple[float, float], **options: Any) -> Any:
    """Return a figure and its axes, always as an array (rows, columns)."""
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)


def beside(axes: Any, labels: Sequence[tuple[float, str, str]], gap: float = 0.06) -> None:
    """Write (height, text, colour) at the right of the axes, moved apart by `gap` of its height."""
    ordered = sorted(labels)
    from_data = axes.transData + axes.transAxes.inverted()
    places = [float(from_data.transform((1.0, height))[1]) for height, _, _ in ordered]
    for _ in range(100):  # neighbours that are too close give way equally
        for i in range(len(places) - 1):
            push = max(0.0, gap - (places[i + 1] - places[i])) / 2
            places[i], places[i + 1] = places[i] - push, places[i + 1] + push
    for place, (_, text, colour) in zip(places, ordered, strict=True):
        axes.text(1.02, place, text, transform=axes.transAxes, color=colour, va="center")


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, and close it."""
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure.savefig(path)
    plt.close(figure)
