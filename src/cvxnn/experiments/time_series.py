"""Forecasts of an electrocardiogram and of taxi rides: errors, regimes, and gates as a hash."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, canvas, styled
from cvxnn.experiments.loaders import data_folder
from cvxnn.experiments.result import Result, Table, record
from cvxnn.experiments.series import Recorded, ecg, taxi
from cvxnn.forecaster import ConvexForecaster
from cvxnn.gates.base import masks_of

NAME = "time-series"
TITLE = "The next value of a series: convex networks, ridge and a perceptron"
LAGS = 24
FEW, MANY = 3, 32
"""Gates of the network whose regimes are shown, and of the one that forecasts."""
HIDDEN, STARTS, DECAYS = 50, 3, (1e-3, 0.1, 10.0)
"""Neurons and starts of the perceptron, and its strengths of weight decay to choose from."""
BITS, PAIRS = 1000, 300
SHOWN = 240
"""Steps of the figure's stretch."""
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED)


class Forecast(NamedTuple):
    """One model's errors on the steps after training."""

    model: str
    error: float
    """Root of the mean squared error, as a share of that of the last value."""
    gap: float | None = None
    """The certified relative gap; None for models without a certificate."""
    neurons: int | None = None


class Hash(NamedTuple):
    """How often random gates tell two windows apart."""

    angles: Floats
    """Between pairs of windows, as shares of pi."""
    differ: Floats
    """The share of BITS gates that are open on one and not on the other."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """What one series shows."""

    name: str
    unit: str
    source: str
    train: int
    test: int
    forecasts: tuple[Forecast, ...]
    stretch: Floats
    labels: NDArray[np.int64]
    """(SHOWN,), the regimes on the stretch, the frequent ones first; -1 for the first lags."""
    regimes: int
    shares: Floats
    """Of the training steps in each regime."""
    hash: Hash
    patterns: int
    """Different patterns of MANY gates over the training windows, seen sample by sample."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    series: tuple[Series, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes longer series."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=TITLE,
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Forecast both series by every model."""
    train, test = (5000, 2000) if full else (600, 300)
    folder = data_folder()
    return Findings(
        series=tuple(
            forecast(one, train, test, seed) for one in (ecg(folder, seed), taxi(folder, seed))
        )
    )


def forecast(one: Recorded, train: int, test: int, seed: int) -> Series:
    """Train on the first steps, forecast the ones after them, and look at the gates."""
    values = one.values[: train + test]
    train = train if len(values) == train + test else len(values) * 2 // 3
    past, first = values[:train], max(0, train - SHOWN)
    windows = np.lib.stride_tricks.sliding_window_view(
        (values - past.mean()) / past.std(), LAGS + 1
    )
    inner, outer = windows[: train - LAGS], windows[train - LAGS :]
    few, many = (
        ConvexForecaster("gated", lags=LAGS, n_gates=k, alphas=4, random_state=seed).fit(past)
        for k in (FEW, MANY)
    )
    regimes, rng = few.regimes(past), np.random.default_rng(seed)
    tail = values[train - LAGS :]
    forecasts = [judge("last value", outer[:, -2], outer)]
    for name, model in linear_and_perceptrons(inner, seed):
        forecasts.append(judge(name, model.predict(outer[:, :-1]), outer))
    for gates, convex in ((FEW, few), (MANY, many)):
        found = (convex.predict(tail) - past.mean()) / past.std()
        forecasts.append(judge(f"convex, {gates} gates", found, outer, convex))
    return Series(
        name=one.name,
        unit=one.unit,
        source=one.source,
        train=train,
        test=len(outer),
        forecasts=tuple(forecasts),
        stretch=past[first:],
        labels=np.concatenate([np.full(LAGS, -1), regimes.labels])[first:],
        regimes=len(regimes.counts),
        shares=regimes.counts / regimes.counts.sum(),
        hash=hashed(inner[:, :-1], rng),
        patterns=len(many.regimes(past).counts),
    )


def judge(
    name: str, found: Floats, windows: Floats, convex: ConvexForecaster | None = None
) -> Forecast:
    """Return the error of what a model found after windows, the truth being their last values."""
    truth, last = windows[:, -1], windows[:, -2]
    error = np.sqrt(((found - truth) ** 2).mean() / ((last - truth) ** 2).mean())
    if convex is None:
        return Forecast(name, float(error))
    claim, count = convex.certificate_, convex.network_.n_neurons
    return Forecast(name, float(error), claim.relative_gap, count)


def linear_and_perceptrons(windows: Floats, seed: int) -> list[tuple[str, Any]]:
    """Return ridge regression, its strength chosen by leaving one out, and perceptrons.

    Theirs is chosen as that of the convex networks, on the last fifth of the windows.
    """
    X, y = windows[:, :-1], windows[:, -1]
    early = len(X) * 4 // 5
    models: list[tuple[str, Any]] = [("ridge", RidgeCV(np.geomspace(1e-4, 1e3, 15)).fit(X, y))]
    with warnings.catch_warnings():  # the number of epochs is fixed
        warnings.simplefilter("ignore", ConvergenceWarning)
        tried = [perceptron(alpha, seed).fit(X[:early], y[:early]) for alpha in DECAYS]
        scores = [model.score(X[early:], y[early:]) for model in tried]
        decay = DECAYS[int(np.argmax(scores))]
        for k in range(STARTS):
            models.append((f"perceptron {k + 1}", perceptron(decay, seed + k).fit(X, y)))
    return models


def perceptron(alpha: float, seed: int) -> MLPRegressor:
    """Return scikit-learn's perceptron with weight decay alpha."""
    return MLPRegressor(hidden_layer_sizes=(HIDDEN,), alpha=alpha, max_iter=100, random_state=seed)


def hashed(windows: Floats, rng: np.random.Generator) -> Hash:
    """Compare random gates on pairs of windows with the angles between these."""
    rows = windows[rng.integers(0, len(windows), (2, PAIRS))]
    near = rng.integers(0, len(windows) - 5, PAIRS // 3)  # windows that follow each other closely
    rows[0, : len(near)], rows[1, : len(near)] = windows[near], windows[near + 1]
    lengths = np.linalg.norm(rows, axis=2)
    cosines = (rows[0] * rows[1]).sum(axis=1) / (lengths[0] * lengths[1])
    gates = rng.standard_normal((BITS, rows.shape[2]))
    differ = (masks_of(gates, rows[0]) != masks_of(gates, rows[1])).mean(axis=0)
    return Hash(np.arccos(np.clip(cosines, -1, 1)) / np.pi, differ)


def table(findings: Findings) -> Table:
    """Return every model's error as text."""
    columns = ("", "model", "error / last value's", "certified gap", "neurons")
    rows = [
        (
            one.name,
            it.model,
            f"{it.error:.4f}",
            "" if it.gap is None else f"{it.gap:.0e}",
            "" if it.neurons is None else f"{it.neurons}",
        )
        for one in findings.series
        for it in one.forecasts
    ]
    return Table(columns, tuple(rows))


def errors(one: Series) -> dict[str, list[float]]:
    """Return the errors by kind of model; the perceptron has one a start."""
    found: dict[str, list[float]] = {}
    for it in one.forecasts:
        kind = "perceptron" if it.model.startswith("perceptron") else it.model
        found.setdefault(kind, []).append(it.error)
    return found


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and what the source leaves open."""
    texts = [f"{one.name}: {one.source}." for one in findings.series]
    for one in findings.series:
        by = errors(one)
        low, high = min(by["perceptron"]), max(by["perceptron"])
        texts.append(
            f"{one.name}, {LAGS} lags, {one.train} steps to train on and {one.test} to forecast: "
            f"the convex network of {MANY} gates has {by[f'convex, {MANY} gates'][0]:.3f} of the "
            f"last value's error, ridge {by['ridge'][0]:.3f}, the perceptron's {STARTS} starts "
            f"{low:.3f} to {high:.3f}."
        )
        texts.append(
            f"{one.name}: with {FEW} gates the network is one of {one.regimes} linear models at "
            f"each step, the frequent one for {one.shares[0]:.0%} of them; with {MANY} gates there "
            f"are {one.patterns}."
        )
    far = max(
        float(np.abs(one.hash.differ - one.hash.angles).max() * np.sqrt(BITS))
        for one in findings.series
    )
    texts.append(
        "Gates drawn from N(0, I) are a locality-sensitive hash: two windows differ in a bit with "
        f"probability angle / pi. Over {PAIRS} pairs and {BITS} bits the shares are off by "
        f"{far:.1f} / sqrt({BITS}) at most, which is chance. Windows that follow each other are "
        "near, so few patterns differ."
    )
    texts.append(
        "The source states no data, lags, gates or strength; here strengths are chosen on the last "
        "fifth of the training steps, and the certificate is over the networks on these gates."
    )
    return tuple(texts)


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: a row per series with its regimes, errors, and the hash."""
    figure, axes = canvas(2, 3, (13.0, 6.4), width_ratios=[1.9, 1, 0.9])
    for row, one in zip(axes, findings.series, strict=True):
        _draw_regimes(row[0], one)
        _draw_errors(row[1], one)
        _draw_hash(row[2], one)
    axes[0, 2].set_title("Random gates are a hash:\nP(bits differ) = angle / pi")
    axes[0, 1].set_title("Error on the steps after,\nas a share of the last value's")
    return figure


def _draw_regimes(axes: Any, one: Series) -> None:
    steps = np.arange(one.train - len(one.stretch), one.train)
    axes.plot(steps, one.stretch, color=GREY, linewidth=0.8, zorder=1)
    for regime, colour in enumerate(COLOURS):
        here = one.labels == regime
        axes.plot(steps[here], one.stretch[here], "o", color=colour, markersize=3.2)
    other = one.labels >= len(COLOURS)
    axes.plot(steps[other], one.stretch[other], "o", color=GREY, markersize=2.5)
    axes.set(xlabel="step", ylabel=f"{one.name}, {one.unit}")
    axes.set_title(f"{one.name}: colours are linear models, {one.regimes} in all with {FEW} gates")


def _draw_errors(axes: Any, one: Series) -> None:
    by = errors(one)
    for place, (kind, values) in enumerate(by.items()):
        colour = BLUE if kind.startswith("convex") else GREY
        axes.plot([0, np.mean(values)], [place, place], color=colour, linewidth=6,
                  solid_capstyle="butt", alpha=0.5)  # fmt: skip
        axes.plot(values, np.full(len(values), place), "o", color=colour, markersize=4.5)
        axes.text(max(values) + 0.03, place, f"{np.mean(values):.3f}", va="center", color=colour)
    axes.set_yticks(range(len(by)), list(by))
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1.2), ylim=(len(by) - 0.5, -0.5))
    axes.set_xlabel("root mean squared error / last value's")


def _draw_hash(axes: Any, one: Series) -> None:
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9)
    axes.plot(one.hash.angles, one.hash.differ, "o", color=BLUE, markersize=3, alpha=0.5,
              markeredgewidth=0)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="angle of two windows / pi", ylabel=f"share of {BITS} gates that differ")
