"""Ten classes of images as raw pixels: the convex program of sampled gates beside SGD."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import GatedReLU, Network, Problem
from cvxnn.arrays import to_numpy
from cvxnn.certificate import Scope
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREY, ORANGE, RED, canvas, styled
from cvxnn.experiments.loaders import Images, cifar10, data_folder, digits
from cvxnn.experiments.result import Result, Table, record
from cvxnn.functions import CrossEntropy, SampleLoss, Squared
from cvxnn.gates import gaussian
from cvxnn.path import alpha_max
from cvxnn.program import Iterate
from cvxnn.reading import on_device
from cvxnn.solve import Progress, Solution, solve
from cvxnn.solvers import FISTA
from cvxnn.training import problem_of

NAME = "cifar-10class"
LOSSES: dict[str, SampleLoss] = {"softmax": CrossEntropy(), "squared": Squared()}
FINAL = 0.01
"""The strength as a share of the largest; the slides do not state it."""
STAGES = 3
"""Strengths on the way there, each started from the one before."""
RATES = (0.003, 0.01, 0.03, 0.1)
"""Step sizes of SGD; all are tried."""
BATCH, MOMENTUM = 128, 0.9
SPACING = 1.05
"""Factor of time between two looks at the convex program."""


class Size(NamedTuple):
    """How much is taken on."""

    samples: int | None
    """None: all there are."""
    gates: int
    epochs: int
    """Of SGD."""
    seconds: float
    """For the convex program of either loss."""
    device: str | None


QUICK = Size(samples=600, gates=40, epochs=40, seconds=8.0, device=None)


@dataclass(frozen=True, eq=False)
class Data:
    """Pixels less the mean image, of mean square length d, in single precision, and labels."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    source: str

    def accuracy(self, predict: Any) -> tuple[float, float]:
        """Return the shares of training and of test images whose class has the largest output."""
        parts = ((self.X, self.y), (self.X_test, self.y_test))
        train, test = (float((predict(X).argmax(axis=1) == y).mean()) for X, y in parts)
        return train, test


class Look(NamedTuple):
    """What there was at some time."""

    seconds: float
    objective: float
    train: float
    test: float


class Course(NamedTuple):
    """One method with one loss."""

    loss: str
    method: str
    neurons: int
    gap: float
    """Relative, proved over the networks on these gates; not a number for SGD."""
    looks: tuple[Look, ...]

    def until(self, accuracy: float) -> float:
        """Return the seconds until the test accuracy was first reached; infinity if never."""
        return next((look.seconds for look in self.looks if look.test >= accuracy), float("inf"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    samples: int
    pixels: int
    gates: int
    test_samples: int
    device: str
    courses: tuple[Course, ...]

    def of(self, loss: str) -> list[Course]:
        """Return the courses of one loss, the convex program first."""
        return [course for course in self.courses if course.loss == loss]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes all images; on a GPU that torch sees it takes the slides' 4000 gates, else 64.
    """
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{findings.samples} images of ten classes, {findings.gates} sampled gates: the "
        "convex program and SGD",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def full_size() -> Size:
    """Return the slides' size on a GPU, fewer gates without one."""
    try:
        import torch
    except ImportError:
        gpu = False
    else:
        gpu = torch.cuda.is_available()
    return Size(None, 4000 if gpu else 64, 20, 1800.0, "cuda" if gpu else None)


def load(samples: int | None, rng: np.random.Generator) -> Data:
    """Return `samples` images to train on, or all, and all there are to test on."""
    images: Images = cifar10(data_folder()) or digits()
    chosen = rng.permutation(len(images.X))[:samples]
    X, X_test = (
        x.reshape(len(x), -1).astype(np.float32) for x in (images.X[chosen], images.X_test)
    )
    middle = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    for part in (X, X_test):  # in place: there may be tens of thousands
        part -= middle
    length = np.float32(np.sqrt((np.linalg.norm(X, axis=1) ** 2).mean() / X.shape[1]))
    for part in (X, X_test):
        part /= length
    return Data(X, images.y[chosen], X_test, images.y_test, images.source)


def measure(full: bool = False, seed: int = 0, size: Size | None = None) -> Findings:
    """Solve the convex program and run SGD on a network of as many neurons, for either loss."""
    rng = np.random.default_rng(seed)
    chosen = size or (full_size() if full else QUICK)
    data = load(chosen.samples, rng)
    courses: list[Course] = []
    for name, loss in LOSSES.items():
        convex, alpha = follow(data, name, loss, chosen, seed)
        courses += [convex, *(descend(data, name, alpha, convex.neurons, rate, chosen.epochs, seed)
                              for rate in RATES)]  # fmt: skip
    return Findings(
        source=data.source,
        samples=len(data.X),
        pixels=data.X.shape[1],
        gates=chosen.gates,
        test_samples=len(data.X_test),
        device=chosen.device or "cpu",
        courses=tuple(courses),
    )


def targets(labels: NDArray[np.int64], loss: str) -> Floats:
    """Return one column per class: 1 for the label, and 0 for softmax or -1 for squared."""
    one_hot = np.eye(10)[labels]
    return np.asarray(one_hot if loss == "softmax" else 2 * one_hot - 1)


class _Watch:
    """Takes accuracies of a run now and then; the clock stops while it does."""

    def __init__(self, data: Data) -> None:
        self.data, self.looks = data, list[Look]()
        self.begin, self.due = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Return the time since the start, less that of the looks."""
        return time.perf_counter() - self.begin

    def look(self, take: Callable[[], tuple[float, Callable[[Any], Any]]]) -> None:
        """Write down the objective and the accuracies of the network that `take` returns."""
        seconds = self.seconds
        value, predict = take()
        self.looks.append(Look(seconds, value, *self.data.accuracy(predict)))
        self.begin += self.seconds - seconds
        self.due = SPACING * seconds


def follow(data: Data, name: str, loss: SampleLoss, size: Size, seed: int) -> tuple[Course, float]:
    """Solve at falling strengths, each from the last; the accuracies are off the clock."""
    watch = _Watch(data)
    problem = _problem(data, name, loss, size, seed)
    top, start = alpha_max(problem), None
    for stage in range(1, STAGES + 1):
        here, limit = problem.at(top * FINAL ** (stage / STAGES)), stage * size.seconds / STAGES

        def note(event: Progress, here: Problem = here, limit: float = limit) -> bool:
            if watch.seconds >= watch.due:
                watch.look(partial(_reading, here, event))
            return watch.seconds > limit

        tol = 1e-2 if stage < STAGES else 1e-3
        solution = solve(
            here.program, FISTA(), start=start, tol=tol, callbacks=[note], judge=here.judge
        )
        start = solution.iterate
    watch.look(partial(_reading, here, solution))
    gap = solution.certificate.relative_gap
    neurons = int(_network(here, solution.iterate).n_neurons)
    return Course(name, "convex program", neurons, gap, tuple(watch.looks)), here.alpha


def _problem(data: Data, name: str, loss: SampleLoss, size: Size, seed: int) -> Problem:
    architecture = GatedReLU()
    gates = gaussian(architecture.features(data.X), size.gates, np.random.default_rng(seed))
    return problem_of(
        architecture,
        on_device(data.X, size.device),
        on_device(targets(data.y, name), size.device),
        np.ones(len(data.y)),
        loss,
        gates,
        scope=Scope.GIVEN_GATES,
        intercept=True,
        skip=False,
    )


def _reading(problem: Problem, found: Progress | Solution) -> tuple[float, Network]:
    return found.certificate.upper, _network(problem, found.iterate)


def _network(problem: Problem, iterate: Iterate) -> Network:
    """Return the network of an iterate in host memory."""
    found = problem.network(iterate).parameters()
    return problem.architecture.network({name: to_numpy(value) for name, value in found.items()})


def descend(
    data: Data, loss: str, alpha: float, width: int, rate: float, epochs: int, seed: int
) -> Course:
    """Train max(0, [x, 1]'W) A + b by SGD on the mean loss + alpha/2 * (|W|^2 + |A|^2).

    Batches of 128, momentum 0.9, steps that fall by a cosine, single precision. Accuracies and
    objectives are off the clock.
    """
    rng, n = np.random.default_rng(seed), len(data.X)
    X = np.column_stack([data.X, np.ones(n, np.float32)])
    y = targets(data.y, loss).astype(np.float32)
    z = [
        (rng.standard_normal((X.shape[1], width)) * (2 / X.shape[1]) ** 0.5).astype(np.float32),
        (rng.standard_normal((width, 10)) * width**-0.5).astype(np.float32),
        np.zeros(10, np.float32),
    ]
    speed, watch = [0 * part for part in z], _Watch(data)
    with np.errstate(all="ignore"):  # large steps may diverge
        for epoch in range(epochs + 1):
            watch.look(partial(_state, X, y, loss, alpha, z))
            if epoch == epochs or not np.isfinite(watch.looks[-1].objective):
                break
            size = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
            for rows in np.array_split(rng.permutation(n), max(1, n // BATCH)):
                down = slopes(X[rows], y[rows], loss, alpha, z)
                speed = [MOMENTUM * v + s for v, s in zip(speed, down, strict=True)]
                z = [part - np.float32(size) * v for part, v in zip(z, speed, strict=True)]
    return Course(loss, f"SGD, step {rate:g}", width, float("nan"), tuple(watch.looks))


def _state(
    X: Any, y: Any, loss: str, alpha: float, z: list[Any]
) -> tuple[float, Callable[[Any], Any]]:
    return objective(X, y, loss, alpha, z), partial(predicted, z)


def outputs(X: Any, z: list[Any]) -> tuple[Any, Any]:
    """Return activations (n, m) and outputs (n, 10); ones are appended to X where they lack."""
    lacking = z[0].shape[0] > X.shape[1]
    values = X @ z[0][:-1] + z[0][-1] if lacking else X @ z[0]
    hidden = np.maximum(values, 0)
    return hidden, hidden @ z[1] + z[2]


def predicted(z: list[Any], X: Any) -> Any:
    """Return the outputs alone, (n, 10)."""
    return outputs(X, z)[1]


def objective(X: Any, y: Any, loss: str, alpha: float, z: list[Any]) -> float:
    """Return mean loss + alpha * sum_j |w_j| |a_j|."""
    sizes = np.linalg.norm(z[0], axis=0) * np.linalg.norm(z[1], axis=1)
    losses = LOSSES[loss].value(outputs(X, z)[1].astype(np.float64), y.astype(np.float64))
    return float(losses.mean() + alpha * sizes.sum())


def slopes(X: Any, y: Any, loss: str, alpha: float, z: list[Any]) -> list[Any]:
    """Return the gradient of mean loss + alpha/2 * (|W|^2 + |A|^2) in W, A and b."""
    hidden, out = outputs(X, z)
    misfit = LOSSES[loss].gradient(out, y) / np.float32(len(y))
    back = np.where(hidden > 0, misfit @ z[1].T, np.float32(0))
    decay = np.float32(alpha)
    return [X.T @ back + decay * z[0], hidden.T @ misfit + decay * z[1], misfit.sum(axis=0)]


def table(findings: Findings) -> Table:
    """Return every course's end as text."""
    columns = ("", "loss", "neurons", "objective", "relative gap", "training accuracy",
               "test accuracy", "seconds", "seconds to 95 % of the best")  # fmt: skip
    rows = []
    for loss in LOSSES:
        goal = 0.95 * max(course.looks[-1].test for course in findings.of(loss))
        for course in findings.of(loss):
            end, until = course.looks[-1], course.until(goal)
            gap = f"{course.gap:.1e}" if np.isfinite(course.gap) else ""
            fell = end.objective <= course.looks[0].objective
            value = f"{end.objective:.4f}" if fell else "diverged"
            rows.append((course.method, loss, f"{course.neurons}", value, gap,
                         f"{end.train:.3f}", f"{end.test:.3f}", f"{end.seconds:.1f}",
                         f"{until:.1f}" if np.isfinite(until) else "never"))  # fmt: skip
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    return (
        f"{findings.source}; {findings.samples} images of {findings.pixels} numbers, "
        f"{findings.test_samples} to test on, solved on {findings.device}.",
        *(story(findings.of(loss)) for loss in LOSSES),
        f"The convex program trains gated networks on {findings.gates} sampled gates; weights "
        "are free of the gates. Its gap is proved over those networks. SGD trains ReLU networks "
        "of as many neurons with the same weight decay. These are different sets of networks: "
        "their objectives may be compared, but the bound of one says nothing of the other.",
        f"alpha falls to {FINAL:g} of its largest value in {STAGES} stages, each started from the "
        "one before. The clock stops while accuracies are taken. SGD is shown for each step size; "
        "somebody who does not know the best one pays for all.",
    )


def story(courses: list[Course]) -> str:
    """Return how the methods compare with one loss."""
    convex, descents = courses[0], courses[1:]
    best = max(descents, key=lambda course: course.looks[-1].test)
    end, other = convex.looks[-1], best.looks[-1]
    worst = min(course.looks[-1].test for course in descents)
    return (
        f"With the {convex.loss} loss the convex program tells {100 * end.test:.1f} % of the test "
        f"images after {end.seconds:.1f} s ({100 * end.train:.1f} % in training), SGD "
        f"{100 * other.test:.1f} % after {other.seconds:.1f} s with its best step size and "
        f"{100 * worst:.1f} % with its worst."
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: training and test accuracy over time, a column for each loss."""
    figure, axes = canvas(2, len(LOSSES), (4.6 * len(LOSSES), 6.0), sharex="col", sharey=True)
    shades = (GREY, ORANGE, RED, "#7a5195")
    for (above, below), loss in zip(axes.T, LOSSES, strict=True):
        for course, colour in zip(findings.of(loss), (BLUE, *shades), strict=True):
            seconds = [max(look.seconds, 1e-2) for look in course.looks]
            above.plot(seconds, [100 * look.train for look in course.looks], color=colour)
            below.plot(seconds, [100 * look.test for look in course.looks], color=colour,
                       label=course.method)  # fmt: skip
        above.set(xscale="log", title=f"{loss}: training images")
        below.set(title=f"{loss}: test images", xlabel="seconds")
        above.minorticks_off()
    for panel in axes[:, 0]:
        panel.set_ylabel("% told right")
    axes[1, 0].legend(frameon=False, fontsize=7)
    return figure
