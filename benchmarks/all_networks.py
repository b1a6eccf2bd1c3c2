"""ReLU networks of any width: objectives, sizes, times and bounds, ours beside five rivals."""

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from cvxnn import ConvexRegressor, ReLU

Floats = NDArray[np.float64]

WIDTH = 200
STARTS = 10
STEPS = {"adam": np.geomspace(1e-4, 1e-1, 10), "sgd": np.geomspace(1e-3, 1.0, 10)}


class Data(NamedTuple):
    """Samples (n, d) of unit columns, the last of them the bias, and targets (n,)."""

    X: Floats
    y: Floats


class Network(NamedTuple):
    """sum_j a_j max(0, X u_j)."""

    u: Floats
    """(m, d)."""
    a: Floats
    """(m,)."""

    def objective(self, data: Data, alpha: float) -> float:
        """Return 1/(2n) |f(X) - y|^2 + alpha * sum_j |u_j| |a_j|, the same for every rival."""
        fit = np.maximum(data.X @ self.u.T, 0) @ self.a
        return float(((fit - data.y) ** 2).mean() / 2 + alpha * self.sizes.sum())

    @property
    def sizes(self) -> Floats:
        """Return |u_j| |a_j|, (m,)."""
        return np.asarray(np.linalg.norm(self.u, axis=1) * np.abs(self.a))

    @property
    def neurons(self) -> int:
        """Return how many are more than a millionth of the largest."""
        return int((self.sizes > 1e-6 * self.sizes.max(initial=1e-300)).sum())


class Result(NamedTuple):
    """What a rival ended with."""

    network: Network
    seconds: float
    gap: float = math.nan
    """Proved over all networks, relative."""
    estimate: float = math.nan
    """The gap if growth missed no neuron: no proof."""


def standard(X: Floats, y: Floats) -> Data:
    """Scale the columns that vary, add ones, and bring all columns to unit norm."""
    X = X[:, X.std(axis=0) > 0]
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    return Data(X / np.linalg.norm(X, axis=0), y)


def teacher(n: int, d: int, neurons: int = 10) -> Data:
    """Return Gaussian samples, neighbours correlated 1/2, and a noisy teacher."""
    rng, places = np.random.default_rng(0), np.arange(d - 1)
    root = np.linalg.cholesky(0.5 ** np.abs(places[:, None] - places))
    X = rng.standard_normal((n, d - 1)) @ root.T
    outputs = np.maximum(X @ rng.standard_normal((d - 1, neurons)), 0) @ rng.standard_normal(
        neurons
    )
    return standard(X, outputs / outputs.std() + 0.3 * rng.standard_normal(n))


def labels(load: Callable[..., Any], parity: bool = False) -> Data:
    """Return a table with labels -1 and 1."""
    X, y = load(return_X_y=True)
    return standard(X, np.where((y % 2 if parity else y) > 0, 1.0, -1.0))


def diabetes() -> Data:
    """Return the diabetes table, its target standardised."""
    X, y = load_diabetes(return_X_y=True)
    return standard(X, (y - y.mean()) / y.std())


PROBLEMS: dict[str, Callable[[], Data]] = {
    "breast_cancer": lambda: labels(load_breast_cancer),
    "diabetes": diabetes,
    "digits": lambda: labels(load_digits, parity=True),
    "gaussian-5": lambda: teacher(1000, 5),
    "A": lambda: teacher(1000, 50),
}


def ours(data: Data, alpha: float, args: argparse.Namespace) -> Result:
    """Grow and prove; the clock holds the growth alone, with the search for alpha_max."""
    clock = [time.process_time()]
    model = _regressor(
        alpha,
        gates="grow",
        proof_time=args.proof_time,
        callbacks=[lambda _: clock.append(time.process_time())],
    ).fit(*data)
    gap, estimate = model.certificate_.relative_gap, model.estimated_gap_
    return Result(_network(model), clock[-1] - clock[0], gap, estimate)


def sampled(data: Data, alpha: float, args: argparse.Namespace) -> Result:
    """Solve the ReLU program on 500 sampled patterns."""
    begin = time.process_time()
    model = _regressor(
        alpha, gates="sample", n_gates=500, tol=1e-3, max_time=args.limit, solver="admm"
    ).fit(*data)
    return Result(_network(model), time.process_time() - begin)


def perceptron(data: Data, alpha: float, args: argparse.Namespace) -> Result:
    """Fit scikit-learn's network; its intercepts become weights of the column of ones."""
    begin = time.process_time()
    model = MLPRegressor(
        hidden_layer_sizes=(WIDTH,), alpha=alpha * len(data.y), max_iter=args.epochs,
        random_state=0, tol=0,
        n_iter_no_change=args.epochs, batch_size=min(200, len(data.y)),
    ).fit(*data)  # fmt: skip
    seconds = time.process_time() - begin
    height = data.X[0, -1]
    u = model.coefs_[0].T.copy()
    u[:, -1] += model.intercepts_[0] / height
    last = np.zeros((1, u.shape[1]))
    last[0, -1] = math.sqrt(abs(model.intercepts_[1][0]) / height)
    constant = np.sign(model.intercepts_[1]) * last[0, -1]
    return Result(
        Network(np.vstack([u, last]), np.append(model.coefs_[1][:, 0], constant)), seconds
    )


def adam(data: Data, alpha: float, args: argparse.Namespace) -> Result:
    """Run Adam from 10 starts with each of 10 step sizes; the best, and the seconds of one run."""
    return _best(data, alpha, "adam", args.epochs)


def sgd(data: Data, alpha: float, args: argparse.Namespace) -> Result:
    """Run gradient descent with momentum, as `adam`."""
    return _best(data, alpha, "sgd", args.epochs)


def scnn(data: Data, alpha: float, args: argparse.Namespace) -> Result:
    """Run the augmented Lagrangian of pyscnn on 500 sampled patterns."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    generators = np.random.default_rng(0).standard_normal((data.X.shape[1], 500))
    begin = time.process_time()
    model = ConvexReLU(generators)
    found, _ = optimize_model(
        model,
        AL(model, max_primal_iters=args.epochs),
        Metrics(objective=False, grad_norm=False, time=False),
        data.X.astype(np.float32),
        data.y.astype(np.float32)[:, None],
        regularizer=NeuronGL1(alpha),
        return_convex=False,
    )
    first, second = found.parameters[:2]
    return Result(
        Network(first.astype(float), second[0].astype(float)), time.process_time() - begin
    )


RIVALS: dict[str, Callable[[Data, float, argparse.Namespace], Result]] = {
    "grown": ours,
    "sampled": sampled,
    "scnn": scnn,
    "mlp": perceptron,
    "adam": adam,
    "sgd": sgd,
}


def _regressor(alpha: float, **options: Any) -> ConvexRegressor:
    return ConvexRegressor(
        ReLU(bias=False), alpha=alpha, fit_intercept=False, random_state=0, **options
    )


def _network(model: ConvexRegressor) -> Network:
    return Network(model.network_.weights_in, model.network_.weights_out[:, 0])


def _best(data: Data, alpha: float, rule: str, epochs: int) -> Result:
    begin = time.process_time()
    ends: list[Network] = []
    with np.errstate(all="ignore"):  # large steps may diverge
        for step in STEPS[rule]:
            ends += _descended(data, alpha, rule, step, epochs)
        values = [network.objective(data, alpha) for network in ends]
    seconds = (time.process_time() - begin) / len(ends)
    return Result(ends[int(np.nanargmin(values))], seconds)


def _descended(data: Data, alpha: float, rule: str, step: float, epochs: int) -> Iterator[Network]:
    """Yield where a rule ends, full batches and all starts side by side, in single precision.

    Steps of gradient descent are in units of standardised columns.
    """
    rng, (n, d) = np.random.default_rng(0), data.X.shape
    X, y = data.X.astype(np.float32), data.y.astype(np.float32)
    spread = math.sqrt(2 / WIDTH)
    z = [
        (math.sqrt(n / d) * spread * rng.standard_normal((STARTS, WIDTH, d))).astype(np.float32),
        (spread * rng.standard_normal((STARTS, WIDTH))).astype(np.float32),
    ]
    mean, square, units = [0 * part for part in z], [0 * part for part in z], (n, 1)
    for count in range(1, epochs + 1):
        u, a = z
        hidden = np.maximum(u @ X.T, 0)
        residual = ((a[:, None] @ hidden)[:, 0] - y) / n
        back = (hidden > 0) * (a[:, :, None] * residual[:, None, :])
        slopes = back @ X + alpha * u, (hidden @ residual[:, :, None])[:, :, 0] + alpha * a
        size = step * 0.5 * (1 + math.cos(math.pi * count / epochs))
        for i, slope in enumerate(slopes):
            if rule == "sgd":
                mean[i] = 0.9 * mean[i] + slope
                z[i] = z[i] - size * units[i] * mean[i]
                continue
            mean[i] = 0.9 * mean[i] + 0.1 * slope
            square[i] = 0.999 * square[i] + 0.001 * slope**2
            ahead = mean[i] / (1 - 0.9**count)
            z[i] = z[i] - size * ahead / (np.sqrt(square[i] / (1 - 0.999**count)) + 1e-8)
    for u, a in zip(*z, strict=True):
        yield Network(u.astype(float), a.astype(float))


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default="breast_cancer,diabetes,digits")
    parser.add_argument("--shares", default="0.1,0.01", help="of the largest alpha")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=60, help="seconds of the sampled program")
    parser.add_argument("--proof-time", type=float, default=20)
    args = parser.parse_args()
    for name, known in (("problems", PROBLEMS), ("rivals", RIVALS)):
        given = getattr(args, name).split(",")
        if unknown := set(given) - set(known):
            parser.error(f"unknown {name} {sorted(unknown)}; choose from {', '.join(known)}")
        setattr(args, name, given)
    args.shares = [float(share) for share in args.shares.split(",")]
    return args


def rows(args: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the table."""
    yield "problem", "share", "rival", "n * objective", "neurons", "seconds", "gap", "estimate"
    for name in args.problems:
        data = PROBLEMS[name]()
        top = _regressor(1e9, gates="grow", proof_time=0).fit(*data).alpha_max_
        for share in args.shares:
            for rival in args.rivals:
                try:
                    result = RIVALS[rival](data, share * top, args)
                except ModuleNotFoundError as error:
                    yield name, f"{share:g}", rival, f"({error.name} is not installed)"
                    continue
                value = len(data.y) * result.network.objective(data, share * top)
                shown = [f"{x:.1e}" if x == x else "-" for x in (result.gap, result.estimate)]
                yield (
                    name, f"{share:g}", rival, f"{value:.5f}",
                    str(result.network.neurons), f"{result.seconds:.2f}", *shown,
                )  # fmt: skip


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", UserWarning)  # strengths without neurons
    for row in rows(options()):
        print("  ".join(cell.rjust(13) for cell in row), flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
