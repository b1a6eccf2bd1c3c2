"""Two random problems of a student report: gradient descent against the convex optimum."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from cvxnn.architectures import Network, ReLU, ReLUNetwork
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Descent, Floats, curvature, descend, start
from cvxnn.experiments.figures import BLUE, GREY, INK, ORANGE, PALE, canvas, styled
from cvxnn.experiments.result import Result, Table, record
from cvxnn.gates import cover_count, enumerate_patterns

BETA = 0.1
"""Not stated in the report."""
RATE = 0.01
"""The step size on the sum over samples, not stated either."""
REPORTED_STEPS = 200
TOL = 1e-7
NEAR = 5e-3
"""A start whose objective is relatively this close to the bound has reached it."""


@dataclass(frozen=True)
class Setting:
    """A matrix of standard normal entries (n, d), and the widths that are tried on it."""

    name: str
    n: int
    d: int
    widths: tuple[int, ...]


FIRST = Setting("student-1", 5, 3, (5, 15, 44, 50))
SECOND = Setting("student-2", 10, 3, (5, 15, 184))


class Curves(NamedTuple):
    """Objectives of some starts, in the report's units: sums over samples."""

    steps: NDArray[np.int64]
    objective: Floats
    """(starts, k)."""
    diverged: int
    """How many starts end above where they began, or at numbers that are not finite."""

    def ends(self) -> tuple[str, str]:
        """Return the best and the median last objective as text."""
        last = np.nan_to_num(self.objective[:, -1], nan=np.inf)
        return number(float(last.min())), number(float(np.median(last)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Width:
    """What descent did with m neurons."""

    m: int
    reported: Curves
    """From weights of variance 1, the report's 200 steps."""
    patient: Curves
    """From weights of variance 1/m, the same step size, many more steps."""
    curvature: float
    """The median over starts of variance 1."""
    reached: int
    """How many patient starts end within NEAR of the bound."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What an experiment measures."""

    setting: Setting
    patterns: int
    cover: int
    objective: float
    """Of the network with the fewest neurons that we know."""
    bound: float
    """No network of any width is below it."""
    blocks: int
    """Candidate blocks, a positive and a negative one per open pattern."""
    nonzero: int
    """Blocks that the solver's answer uses."""
    neurons: int
    """Neurons of the network after an equal one was found with as few as possible."""
    widths: tuple[Width, ...]


def first(full: bool, seed: int, out: Path) -> Result:
    """Run student-1: a 5 x 3 matrix and 5 to 50 neurons."""
    return run(FIRST, full, seed, out)


def second(full: bool, seed: int, out: Path) -> Result:
    """Run student-2: a 10 x 3 matrix and 5 to 184 neurons."""
    return run(SECOND, full, seed, out)


def run(setting: Setting, full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` adds starts and steps."""
    findings = measure(setting, full, seed)
    return record(
        name=setting.name,
        title=f"Gradient descent against the convex optimum, n = {setting.n}, d = {setting.d}",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(setting: Setting, full: bool = False, seed: int = 0) -> Findings:
    """Draw the problem, certify its optimum, and let descent try each width."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((setting.n, setting.d))
    y = rng.choice([-1.0, 1.0], setting.n)
    model = ConvexRegressor(
        ReLU(bias=False),
        alpha=BETA / setting.n,
        gates="enumerate",
        solver="reference",
        tol=TOL,
        fit_intercept=False,
    ).fit(X, y)
    certificate, gates = model.certificate_, enumerate_patterns(X)
    blocks = np.linalg.norm(model.solution_.iterate.blocks[:, :, 0], axis=1)
    network = fewest_neurons(X, model.network_)
    misfit = network(X)[:, 0] - y
    bound = setting.n * certificate.lower
    return Findings(
        setting=setting,
        patterns=len(gates),
        cover=cover_count(setting.n, setting.d),
        objective=float(misfit @ misfit / 2 + BETA * network.weight_decay()),
        bound=bound,
        blocks=len(blocks),
        nonzero=int((blocks > 1e-6 * blocks.max()).sum()),
        neurons=network.n_neurons,
        widths=tuple(try_width(X, y, m, bound, full, rng) for m in setting.widths),
    )


def fewest_neurons(X: Floats, network: Network) -> ReLUNetwork:
    """Return a network with the same outputs on X (n, d), no more penalty, and n neurons at most.

    With unit neurons the penalty is the sum of their strengths c >= 0, and the outputs are linear
    in c: a vertex of the linear program "min sum c, same outputs" has at most n strengths that are
    not zero, which is Caratheodory's theorem.
    """
    lengths = np.linalg.norm(network.weights_in, axis=1)
    signs = np.sign(network.weights_out)
    unit = network.weights_in / lengths[:, None]
    atoms = (np.maximum(X @ unit.T, 0) * signs[:, 0]).T
    strengths = lengths * np.abs(network.weights_out[:, 0])
    found = linprog(np.ones(len(unit)), A_eq=atoms.T, b_eq=strengths @ atoms, method="highs-ds")
    if found.x is None:
        raise ArithmeticError(f"the linear program of the fewest neurons failed: {found.message}")
    vertex = np.asarray(found.x)
    kept = vertex > 1e-9 * vertex.max()
    roots = np.sqrt(vertex[kept, None])
    return ReLUNetwork(
        weights_in=roots * unit[kept],
        weights_out=roots * signs[kept],
        intercept=network.intercept,
        skip=network.skip,
    )


def try_width(
    X: Floats, y: Floats, m: int, bound: float, full: bool, rng: np.random.Generator
) -> Width:
    """Let descent start as in the report, and from starts whose size does not grow with m."""
    n, starts = len(X), 20 if full else 5
    alpha, size = BETA / n, RATE * n

    def train(steps: int, spread: float) -> Descent:
        return descend(
            X,
            y,
            alpha,
            width=m,
            starts=starts,
            steps=steps,
            step_size=size,
            spread=spread,
            rng=rng,
        )

    reported = train(REPORTED_STEPS, 1.0)
    patient = train(100_000 if full else 10_000, m**-0.5)
    sharpness = curvature(X, start(rng, starts, m, X.shape[1], 1.0), alpha)
    return Width(
        m=m,
        reported=curves(reported, n),
        patient=curves(patient, n),
        curvature=float(np.median(sharpness)),
        reached=int((n * patient.objective[:, -1] <= bound * (1 + NEAR)).sum()),
    )


def curves(descent: Descent, n: int) -> Curves:
    """Return the curves as sums over n samples."""
    return Curves(descent.steps, n * descent.objective, int(descent.diverged.sum()))


def number(value: float) -> str:
    """Return six digits after the point, or what a start that diverged has."""
    return f"{value:.6f}" if value < 1e6 else "infinite"


def table(findings: Findings) -> Table:
    """Return the convex optimum and both descents at every width as text."""
    starts = len(findings.widths[0].patient.objective)
    rows = [("convex program", f"{findings.neurons}", number(findings.objective), "", "", "")]
    for width in findings.widths:
        m, short, long_ = f"{width.m}", width.reported, width.patient
        rows.append(
            (
                f"SGD, large start, {short.steps[-1]} steps",
                m,
                *short.ends(),
                f"{short.diverged}",
                "",
            )
        )
        rows.append(
            (
                f"SGD, small start, {long_.steps[-1]} steps",
                m,
                *long_.ends(),
                f"{long_.diverged}",
                f"{width.reached} of {starts}",
            )
        )
    columns = ("", "neurons", "best", "median", "diverged", "at the bound")
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the report errs."""
    n, narrow, wide = findings.setting.n, findings.widths[0], findings.widths[-1]
    starts, limit = len(wide.patient.objective), 2 / (RATE * n)
    return (
        f"The {findings.patterns} patterns are as many as Cover's count, {findings.cover}. No "
        f"network of any width is below {findings.bound:.8f}; ours is at {findings.objective:.8f}.",
        f"2P and n do not contradict: 2P counts candidate blocks ({findings.blocks} here), of "
        f"which the solver's answer uses {findings.nonzero}; a network equal on the data has "
        f"{findings.neurons} neurons, and some optimal network always has at most n = {n}. So "
        "m >= 2P is enough and not needed.",
        f"{findings.neurons} neurons suffice. Of {starts} long runs of SGD {narrow.reached} reach "
        f"the bound with m = {narrow.m}, and {wide.reached} with m = {wide.m}. "
        f"After {REPORTED_STEPS} steps SGD is still on its way: that distance is no duality gap.",
        "What explodes is not the width. Steps beyond 2 / curvature are unstable: from weights of "
        f"variance 1 the curvature at m = {wide.m} is {wide.curvature:.0f}, where this step size "
        f"allows {limit:.0f}, and {wide.reported.diverged} of {starts} starts diverge; from "
        f"weights of variance 1/m {wide.patient.diverged} do, at the same step size.",
        "The report states neither beta nor its step size nor its start; here "
        f"beta = {BETA:g}, the step is {RATE:g} on the sum over samples, and labels are "
        "random signs. Objectives are in its units, n times those of cvxnn at alpha = beta / n.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: one panel per width, the certified bound as the floor."""
    widths = findings.widths
    figure, axes = canvas(1, len(widths), (2.7 * len(widths) + 0.4, 3.6), sharex=True, sharey=True)
    for panel, width in zip(axes[0], widths, strict=True):
        _draw_width(panel, width, findings.bound)
    axes[0, 0].set_ylabel("objective")
    axes[0, 0].set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    last = axes[0, -1]
    last.text(0.97, 0.03, "no network of any width\n(certified)", transform=last.transAxes,
              ha="right", color=GREY)  # fmt: skip
    return figure


def _draw_width(axes: Any, width: Width, bound: float) -> None:
    axes.axhspan(bound / 8, bound, color=PALE, linewidth=0)
    axes.axhline(bound, color=INK, linewidth=0.9)
    for drawn, colour in ((width.reported, ORANGE), (width.patient, BLUE)):
        values = np.where(np.isfinite(drawn.objective), drawn.objective, 1e300)
        axes.plot(drawn.steps, values.T, color=colour, linewidth=0.9, alpha=0.75)
    starts, ends = len(width.patient.objective), int(width.patient.steps[-1])
    axes.set_xscale("symlog", linthresh=1)
    axes.set(yscale="log", xlim=(0, ends), ylim=(bound / 8, 2e4), xlabel="step")
    axes.set(xticks=(0, 10, 1000), xticklabels=("0", "10", "1000"), title=f"m = {width.m}")
    axes.minorticks_off()
    lost = width.reported.diverged
    fate = f"{lost} of {starts} explode" if lost else f"{REPORTED_STEPS} steps"
    axes.text(0.97, 0.97, f"large start:\n{fate}",
              transform=axes.transAxes, ha="right", va="top", color=ORANGE)  # fmt: skip
    axes.text(0.97, 0.82, f"small start: {width.reached} of {starts}\nreach the bound",
              transform=axes.transAxes, ha="right", va="top", color=BLUE)  # fmt: skip
