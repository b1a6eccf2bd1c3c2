"""Networks that see only the first k singular directions of the data, and what that costs."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning

from cvxnn.architectures import ReLU, ReLUNetwork
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREEN, INK, RED, beside, canvas, styled
from cvxnn.experiments.result import Result, Table, record
from cvxnn.gates import cover_count
from cvxnn.optima import prune

NAME = "low-rank"
TITLE = "Networks on the rank-k part of the data: what they lose, and what was promised"

CORNER = np.diag([1.0, 0.4])
"""Two samples for which one singular direction is far from enough."""
CORNER_TARGETS = np.array([100.0, 100.0])
CORNER_BETA = 5.0
SCALES = tuple(float(c) for c in np.geomspace(1e-3, 1.0, 13))
"""Factors on the targets and on beta of the two samples, which leave p_k / p* as it is."""
BLOWN_UP = 100.0
"""A factor on targets and beta, for which the promise is written down beside the first one."""


@dataclass(frozen=True, eq=False)
class Problem:
    """1/2 |f - y|^2 + beta/2 * (weights squared), over all ReLU networks without bias."""

    name: str
    X: Floats
    y: Floats
    beta: float
    gates: str
    """How the optimum over all networks is found and proved."""
    ranks: tuple[int, ...]
    """The last is the rank of X."""
    seconds: float
    """For each proof, where the patterns are too many to list."""


class Step(NamedTuple):
    """The best network on the first k right singular vectors; all numbers are proved."""

    k: int
    sigma: float
    """The singular value k + 1, the first that is left out; 0 after the last."""
    patterns: int
    """Cover's count for n samples of rank k."""
    objective: float
    """p_k, of the lifted network on the samples themselves."""
    bound: float
    """No network on the rank-k part is below it."""
    neurons: int
    promised: float
    """1 + sigma / beta."""
    promised_blown_up: float
    """The same for targets and beta BLOWN_UP times as large."""
    proved: float
    """(1 + sigma sqrt(p* / 2) / beta)^2."""
    sharp: float
    """The same bound with the best network's own misfit and penalty."""


class Scaled(NamedTuple):
    """The two samples with targets and beta times a factor."""

    factor: float
    optimum: float
    truncated: float
    promised: float
    proved: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """A problem's steps; the last is the problem itself."""

    name: str
    samples: int
    features: int
    beta: float
    gates: str
    steps: tuple[Step, ...]

    @property
    def optimum(self) -> float:
        """p*."""
        return self.steps[-1].objective

    def ratios(self) -> Floats:
        """Return p_k / p* of all steps."""
        return np.array([step.objective for step in self.steps]) / self.optimum

    @property
    def enough(self) -> int:
        """The least k whose objective is within 5 % of the optimum."""
        close = self.ratios() <= 1.05
        return self.steps[int(np.argmax(close))].k


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    series: tuple[Series, ...]
    scaled: tuple[Scaled, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` adds a real table."""
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
    """Solve every truncation of every problem, and the two samples at every scale."""
    problems = [decaying(seed), *([tumours()] if full else [])]
    return Findings(
        series=tuple(map(truncate, problems)),
        scaled=tuple(map(corner, SCALES)),
    )


def decaying(seed: int, n: int = 12, d: int = 5) -> Problem:
    """Return random samples whose singular values halve from each to the next, random labels."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((n, d)))[0]
    right = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return Problem(
        name="Singular values halve",
        X=np.sqrt(n) * (left * 2.0 ** -np.arange(d)) @ right.T,
        y=rng.choice([-1.0, 1.0], n),
        beta=0.3,
        gates="enumerate",
        ranks=tuple(range(1, d + 1)),
        seconds=0.0,
    )


def tumours() -> Problem:
    """Return the breast cancer table of scikit-learn, standardised, with labels -1 and 1."""
    data = load_breast_cancer()
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return Problem(
        name="Breast cancer table",
        X=X,
        y=2.0 * data.target - 1.0,
        beta=80.0,
        gates="grow",
        ranks=(1, 2, 3, 5, 7, 10, 15, 20, X.shape[1]),
        seconds=20.0,
    )


def truncate(problem: Problem) -> Series:
    """Return the best networks on the rank-k parts of a problem's samples."""
    X, y, beta = problem.X, problem.y, problem.beta
    _, spectrum, right = np.linalg.svd(X, full_matrices=False)
    found = [best(problem, right[:k]) for k in problem.ranks]
    network = found[-1][0]
    misfit = float(np.linalg.norm(network(X)[:, 0] - y))
    optimum, penalty = value(network, problem), network.weight_decay()
    steps = []
    for k, (lifted, bound) in zip(problem.ranks, found, strict=True):
        sigma = float(spectrum[k]) if k < len(spectrum) else 0.0
        steps.append(
            Step(
                k=k,
                sigma=sigma,
                patterns=cover_count(len(X), k),
                objective=value(lifted, problem),
                bound=bound,
                neurons=lifted.n_neurons,
                promised=1 + sigma / beta,
                promised_blown_up=1 + sigma / (BLOWN_UP * beta),
                proved=(1 + sigma * np.sqrt(optimum / 2) / beta) ** 2,
                sharp=((misfit + sigma * penalty) ** 2 / 2 + beta * penalty) / optimum,
            )
        )
    n, d = X.shape
    return Series(
        name=problem.name,
        samples=n,
        features=d,
        beta=beta,
        gates=problem.gates,
        steps=tuple(steps),
    )


def best(problem: Problem, right: Floats) -> tuple[ReLUNetwork, float]:
    """Return the best network on X V for V' = `right` (k, d), lifted, and what bounds it below.

    The samples in these coordinates have fewer patterns. A neuron z of theirs is the neuron V z on
    the samples themselves, with the same outputs and the same length. Neurons whose outputs the
    others can make are pruned.
    """
    n = len(problem.X)
    model = ConvexRegressor(
        ReLU(bias=False),
        alpha=problem.beta / n,
        gates=problem.gates,
        fit_intercept=False,
        tol=1e-8 if problem.gates == "enumerate" else 1e-4,
        proof_time=problem.seconds,
        random_state=0,
    )
    with warnings.catch_warnings():  # what a proof leaves open is in the table
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(problem.X @ right.T, problem.y)
    small = model.network_
    lifted = ReLUNetwork(
        weights_in=small.weights_in @ right,
        weights_out=small.weights_out,
        intercept=small.intercept,
        skip=np.zeros((right.shape[1], 1)),
    )
    return prune(lifted, problem.X), n * model.certificate_.lower


def value(network: ReLUNetwork, problem: Problem) -> float:
    """Return 1/2 |f - y|^2 + beta/2 * (weights squared) on the samples themselves."""
    misfit = network(problem.X)[:, 0] - problem.y
    return float(misfit @ misfit / 2 + problem.beta * network.weight_decay())


def corner(factor: float) -> Scaled:
    """Return the two samples' optimum and that of their first singular direction."""
    beta = factor * CORNER_BETA
    problem = Problem("", CORNER, factor * CORNER_TARGETS, beta, "enumerate", (1, 2), 0.0)
    first, last = truncate(problem).steps
    return Scaled(factor, last.objective, first.objective, first.promised, first.proved)


def table(findings: Findings) -> Table:
    """Return every step, and the two samples at their largest scale, as text."""
    columns = (
        "", "k", "sigma_k+1", "patterns", "p_k", "relative gap", "neurons", "p_k / p*",
        "promised", f"promised, x {BLOWN_UP:g}", "proved", "proved, sharp",
    )  # fmt: skip
    rows = [
        (
            series.name,
            f"{step.k}",
            f"{step.sigma:.3g}",
            count(step.patterns),
            f"{step.objective:.6f}",
            f"{max(0.0, 1 - step.bound / step.objective):.0e}",
            f"{step.neurons}",
            f"{ratio:.4f}",
            f"{step.promised:.3f}",
            f"{step.promised_blown_up:.3f}",
            f"{step.proved:.2f}",
            f"{step.sharp:.2f}",
        )
        for series in findings.series
        for step, ratio in zip(series.steps, series.ratios(), strict=True)
    ]
    return Table(columns, tuple(rows))


def count(patterns: int) -> str:
    """Return a count, in powers of ten where it is long."""
    return f"{patterns}" if patterns < 10**6 else f"{float(patterns):.0e}"


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the source errs."""
    two = findings.scaled[-1]
    ratio = two.truncated / two.optimum
    return (
        "p_k is the objective of a real network on the samples themselves: its neurons lie in the "
        "span of the first k right singular vectors, where X u = X_k u. So p* <= p_k; the program "
        "on X V_k, with the patterns of k columns, gives it.",
        *map(story, findings.series),
        f"The promise p_k <= (1 + sigma_k+1 / lambda) p* is false for the squared loss. X = "
        f"diag(1, 0.4), y = (100, 100), beta = 5, k = 1: p* = {two.optimum:.4f}, p_1 = "
        f"{two.truncated:.4f}, ratio {ratio:.3f}, where it promises {two.promised:.3f}, or "
        f"{two.promised**2:.3f} when squared.",
        "Targets and beta times c multiply both objectives by c^2 and leave their ratio, but not "
        "sigma / lambda: no factor of that kind can hold for any ratio above one. Here lambda "
        "is beta; the source's printed program has lambda = 2 beta, which promises still less.",
        f"What holds is p_k <= p* (1 + sigma_k+1 sqrt(p* / 2) / beta)^2, {two.proved:.2f} for the "
        "two samples at every c. Proof: the best network on X, of misfit e and penalty R = sum of "
        "|u| |a|, changes its outputs by sigma_k+1 R at most when X becomes X_k, so p_k <= "
        "1/2 (e + sigma_k+1 R)^2 + beta R. That is the sharp column; e <= sqrt(2 p*) and "
        "R <= p* / beta give the other.",
        "For losses that are rho-Lipschitz in |f| the promise is right with rho in front of sigma.",
    )


def story(series: Series) -> str:
    """Return one problem's losses in a sentence."""
    gap = max(1 - step.bound / step.objective for step in series.steps)
    return (
        f"{series.name}, {series.samples} x {series.features}, beta = {series.beta:g}: one "
        f"direction gives {series.ratios()[0]:.3f} p*, and {series.enough} of "
        f"{series.steps[-1].k} come within 5 % of it. Every value is proved over all networks to "
        f"a relative gap of {max(gap, 0):.0e} or less."
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: each problem's ratios against k, and the two samples against scale."""
    panels = len(findings.series) + 1
    figure, axes = canvas(1, panels, (4.6 * panels, 4.2))
    for panel, series in zip(axes[0], findings.series, strict=False):
        _draw_series(panel, series)
    _draw_corner(axes[0, -1], findings.scaled)
    return figure


def _draw_series(axes: Any, series: Series) -> None:
    k = np.array([step.k for step in series.steps])
    lines = (
        ("proved", [step.proved for step in series.steps], GREEN, "-"),
        ("proved, sharp", [step.sharp for step in series.steps], GREEN, (0, (4, 2))),
        ("promised", [step.promised for step in series.steps], RED, "-"),
        (f"promised, y and beta x {BLOWN_UP:g}",
         [step.promised_blown_up for step in series.steps], RED, (0, (4, 2))),
        ("measured, certified", series.ratios(), BLUE, "-"),
    )  # fmt: skip
    for name, values, colour, dashes in lines:
        dot = "o" if colour == BLUE else None
        axes.plot(k, values, color=colour, linestyle=dashes, marker=dot, markersize=4, label=name)
    axes.axhline(1, color=INK, linewidth=0.7)
    axes.set(yscale="log", xlabel="k, and how many patterns", ylabel="objective / optimum")
    few = series.steps[-1].patterns < 10**6
    shown = [s for s in series.steps if few or s.k % 5 == 0 or s.k == 1]
    axes.set_xticks([s.k for s in shown], [f"{s.k}\n{count(s.patterns)}" for s in shown])
    top = max(series.steps[0].proved, 10)
    marks = [t for t in (1, 2, 5, 10, 20, 50, 100) if t <= top]
    axes.set_yticks(marks, [f"{t}" for t in marks])
    axes.minorticks_off()
    axes.legend(frameon=False, handlelength=2.2)
    shape = f"{series.samples} x {series.features}"
    share = f"{series.enough} of {series.steps[-1].k} directions"
    axes.set_title(f"{series.name}, {shape}:\n{share} lose under 5 %")


def _draw_corner(axes: Any, scaled: tuple[Scaled, ...]) -> None:
    factor, optimum, truncated, promised, proved = np.array(scaled).T
    axes.plot(factor, proved, color=GREEN)
    axes.plot(factor, truncated / optimum, "o-", color=BLUE, markersize=4)
    axes.plot(factor, promised, color=RED)
    axes.axhline(1, color=INK, linewidth=0.7)
    axes.set(xscale="log", yscale="log", xlabel="c, on targets and beta", ylim=(0.8, 150))
    axes.set_ylabel("objective / optimum")
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.set_xticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
    axes.minorticks_off()
    lines = ((proved, "proved", GREEN), (truncated / optimum, "measured,\ncertified", BLUE),
             (promised, "promised", RED))  # fmt: skip
    beside(axes, [(v[-1], f"{text} {v[-1]:.2f}", colour) for v, text, colour in lines])
    axes.set_title(
        "Two samples, k = 1, targets 100 c and beta 5 c:\nthe promise depends on the unit of y"
    )
