"""Many tables, several strengths: the share of problems that is solved, against time."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from threadpoolctl import threadpool_limits

from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, canvas, styled
from cvxnn.experiments.loaders import data_folder, uci
from cvxnn.experiments.result import Result, Table, plain, record
from cvxnn.experiments.rivals import (
    Grid,
    Task,
    Trace,
    descents,
    gated,
    grow,
    largest_alpha,
    quasi_newton,
)

NAME = "uci-profile"
SHARES = (0.1, 0.01, 0.001)
NEAR = 1e-3
"""An objective relatively this close to the best known solves a problem."""
MARKS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Seconds at which the table counts."""
OURS, GATED = "grown network", "gated, proved"
RIVALS = ("L-BFGS", "Adam, all runs", "Adam, best run", "SGD, all runs", "SGD, best run")
METHODS = (OURS, *RIVALS, GATED)


class Setting(NamedTuple):
    """How hard everyone tries."""

    grid: Grid
    starts: int
    """Of L-BFGS."""
    steps: int
    """Of L-BFGS."""
    most: float
    """CPU seconds that growth may take."""
    budget: float
    """Seconds after which no problem is begun."""


QUICK = Setting(Grid(starts=3, rates=3, epochs=60, width=50), 2, 200, 1.0, np.inf)
FULL = Setting(Grid(starts=10, rates=10, epochs=300, width=100), 5, 1000, 10.0, 7200.0)


@dataclass(frozen=True, eq=False)
class Solved:
    """One problem, and what every method had reached when."""

    name: str
    share: float
    samples: int
    features: int
    alpha: float
    best: float
    """The least objective that anything found, a second growth off the clock included."""
    neurons: int
    """Of the grown network."""
    traces: dict[str, Trace]
    """By method; objectives, and relative gaps of the gated program."""

    def until(self, method: str) -> float:
        """Return the CPU seconds until a method had solved it; infinity if never."""
        goal = NEAR if method == GATED else self.best * (1 + NEAR)
        return self.traces[method].until(goal)

    def excess(self, method: str) -> float:
        """Return how far a method ended above the best known objective, relatively."""
        return min(self.traces[method].reached) / self.best - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    solved: tuple[Solved, ...]
    sets: int
    """How many the collection has."""
    setting: Setting

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the strengths, the largest first."""
        return tuple(sorted({one.share for one in self.solved}, reverse=True))

    def at(self, share: float) -> list[Solved]:
        """Return the problems of one strength."""
        return [one for one in self.solved if one.share == share]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes as many sets of the collection as two hours allow, the smallest first, with ten
    starts and ten step sizes. Every problem is written into `out` when it is done, so that a run
    that was interrupted goes on where it was; a further run goes on for two more hours.
    """
    findings = measure(full, seed, out / "problems")
    return record(
        name=NAME,
        title=f"{len(findings.solved)} problems of the UCI collection: solved, against time",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(full: bool) -> tuple[dict[str, tuple[Floats, Floats]], str]:
    """Return samples (n, d) and signs (n,) by name, the smallest first, and where they are from.

    The first class is told from the others. Columns are standardised, the last is of ones.
    """
    found = uci(data_folder()) if full or data_folder() else None
    source = "The UCI collection, uci_classification.npz"
    if found is None:
        bundled = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
        found = {name: load(return_X_y=True) for name, load in bundled.items()}
        source = (
            "The UCI collection was not found (set CVXNN_DATA to the folder that holds "
            "uci_classification.npz): tables of scikit-learn stand in for it"
        )
    tables = {name: prepared(*table) for name, table in found.items()}
    return dict(sorted(tables.items(), key=lambda pair: pair[1][0].size)), source


def prepared(X: Floats, labels: Any) -> tuple[Floats, Floats]:
    """Standardise the columns that vary, append ones; 1 for the first class, -1 for others."""
    X = X[:, np.ptp(X, axis=0) > 0]
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    return X, np.where(labels == labels.min(), 1.0, -1.0)


def measure(full: bool = False, seed: int = 0, folder: Path | None = None) -> Findings:
    """Solve every problem in every way, or read it where `folder` has it already."""
    sets, source = load(full)
    setting = FULL if full else QUICK
    names = list(sets) if full else list(sets)[:2]
    with threadpool_limits(1):  # so that CPU seconds are seconds
        solved = tuple(_all(sets, names, setting, seed, folder))
    return Findings(source=source, solved=solved, sets=len(sets), setting=setting)


def _all(
    sets: dict[str, tuple[Floats, Floats]],
    names: list[str],
    setting: Setting,
    seed: int,
    folder: Path | None,
) -> Iterator[Solved]:
    begin = time.perf_counter()
    for name in names:
        top = 0.0
        for share in SHARES:
            kept = None if folder is None else folder / f"{name}-{share:g}-{seed}.json"
            if kept is not None and (held := _read(kept, setting)):
                yield held
                continue
            if time.perf_counter() - begin > setting.budget:
                return
            X, y = sets[name]
            top = top or largest_alpha(X, y)
            one = solve_one(name, Task(X, y, share * top), share, setting, seed)
            if kept is not None:
                _write(kept, one, setting)
            yield one


def solve_one(name: str, task: Task, share: float, setting: Setting, seed: int) -> Solved:
    """Let every method solve a problem, one after the other."""
    grid, grown = setting.grid, grow(task, seed=seed, tol=1e-4, most=setting.most)
    traces = {
        OURS: grown.trace,
        GATED: gated(task, share, seed=seed, tol=0.9 * NEAR, most=setting.most),
        "L-BFGS": quasi_newton(
            task, starts=setting.starts, width=grid.width, steps=setting.steps, seed=seed
        ),
    }
    for rule in ("Adam", "SGD"):
        traces[f"{rule}, all runs"], traces[f"{rule}, best run"] = descents(task, rule, grid, seed)
    again = grow(task, seed=seed + 1, tol=1e-5, most=setting.most)
    ends = [trace.reached for method, trace in traces.items() if method != GATED]
    return Solved(
        name=name,
        share=share,
        samples=len(task.X),
        features=task.X.shape[1] - 1,
        alpha=task.alpha,
        best=min(min(values) for values in (*ends, again.trace.reached)),
        neurons=grown.neurons,
        traces=traces,
    )


def _write(path: Path, one: Solved, setting: Setting) -> None:
    """Write a problem whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partly = path.with_suffix(".part")
    partly.write_text(json.dumps({"setting": plain(setting[:4]), **plain(one)}), encoding="utf-8")
    os.replace(partly, path)


def _read(path: Path, setting: Setting) -> Solved | None:
    """Return the problem that a run with the same setting wrote, if there is one."""
    if not path.is_file():
        return None
    held = json.loads(path.read_text(encoding="utf-8"))
    if held.pop("setting") != plain(setting[:4]):
        return None
    traces = {name: Trace(*map(tuple, trace)) for name, trace in held.pop("traces").items()}
    return Solved(**held, traces=traces)


def solved_by(problems: list[Solved], method: str, seconds: float) -> float:
    """Return the share of problems that a method has solved by then."""
    return float(np.mean([one.until(method) <= seconds for one in problems]))


def table(findings: Findings) -> Table:
    """Return the shares at some times as text, and what everything took."""
    marks = (*(f"{mark:g} s" for mark in MARKS), "ever")
    columns = ("", "alpha / alpha_max", *marks, "worst excess", "CPU s")
    rows = []
    for share in findings.shares:
        problems = findings.at(share)
        for method in METHODS:
            counts = (solved_by(problems, method, mark) for mark in (*MARKS, 1e300))
            spent = sum(one.traces[method].seconds[-1] for one in problems)
            worst = "" if method == GATED else f"{max(p.excess(method) for p in problems):.0e}"
            cells = (*(f"{100 * count:.0f} %" for count in counts), worst, f"{spent:.0f}")
            rows.append((method, f"{share:g}", *cells))
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    grid, names = findings.setting.grid, list(dict.fromkeys(one.name for one in findings.solved))
    return (
        f"{findings.source}. {len(names)} of {findings.sets} sets, the smallest first, the first "
        f"class against the others: {', '.join(names)}.",
        f"Solved is an objective within {NEAR:g} of the best that anything found, a second growth "
        "from another seed to a tighter tolerance included. It is not proved to be optimal. "
        f"For gated programs, a problem of their own, it is a duality gap of {NEAR:g}, proved.",
        *map(verdict, map(findings.at, findings.shares)),
        f"Adam and SGD train {grid.width} neurons from {grid.starts} starts with {grid.rates} step "
        f"sizes for {grid.epochs} epochs. All runs: the clock holds all of them. Best run: that of "
        "somebody who was told the best start and step size. L-BFGS takes "
        f"{findings.setting.starts} starts one after the other. All clocks are CPU seconds of one "
        "thread; looking at the objective is on none but growth's.",
    )


def verdict(problems: list[Solved]) -> str:
    """Return what happened at one strength in a sentence or two."""
    own = [one.until(OURS) for one in problems]
    missed = [f"{p.name} {p.excess(OURS):.1e}" for p in problems if p.until(OURS) == np.inf]
    until = min(max(own), 1e300)
    told = {method: solved_by(problems, method, until) for method in RIVALS if "best" not in method}
    best = max(told, key=lambda method: told[method])
    first = f"all {len(own)} after {until:.2g} s; by then"
    if missed:
        first = f"{len(own) - len(missed)} of {len(own)}, and is above by {', '.join(missed)};"
    wide = sum(one.neurons > 100 for one in problems)
    narrow = f" {wide} of the grown networks have more than 100 neurons." if wide else ""
    return (
        f"At {problems[0].share:g} alpha_max growth has solved {first} the best of the others that "
        f"are told nothing, {best}, has solved {100 * told[best]:.0f} %.{narrow}"
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the share solved against time, a panel for every strength."""
    shares = findings.shares
    figure, axes = canvas(1, len(shares), (4.2 * len(shares), 3.6), sharey=True)
    colours = dict(zip(METHODS, (BLUE, PURPLE, ORANGE, ORANGE, GREY, GREY, GREEN), strict=True))
    for panel, share in zip(axes[0], shares, strict=True):
        problems = findings.at(share)
        for method in METHODS:
            times = np.sort([one.until(method) for one in problems])
            times = times[np.isfinite(times)]
            heights = 100 * np.arange(len(times) + 1) / len(problems)
            dashes = "--" if "best run" in method else "-"
            places = np.concatenate([[1e-3], times, [1e3]])
            panel.step(places, [*heights, heights[-1]], where="post", color=colours[method],
                       linestyle=dashes, label=method)  # fmt: skip
        panel.set(xscale="log", xlim=(1e-2, 3e2), ylim=(0, 102), xlabel="CPU seconds")
        panel.set_title(f"alpha = {share:g} alpha_max, {len(problems)} problems")
        panel.minorticks_off()
    axes[0, 0].set_ylabel(f"% within {NEAR:g} of the best known")
    axes[0, 0].legend(frameon=False, fontsize=7, labelcolor=INK)
    return figure
