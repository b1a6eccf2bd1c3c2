"""The neurons that optimal networks can use: where the price of a direction attains alpha."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from cvxnn.architectures import Free, Problem, ReLU, ReLUNetwork
from cvxnn.arrays import to_numpy
from cvxnn.errors import CvxnnError, UnsupportedError
from cvxnn.everywhere.neurons import Floats
from cvxnn.functions import Mean, SampleLoss
from cvxnn.program import Iterate, Program
from cvxnn.projection import gauges, nearest, unit_rows
from cvxnn.samples import positive_weights
from cvxnn.solver_choice import named, solver_for
from cvxnn.training import (
    LOSSES,
    Trained,
    gates_of,
    problem_of,
    train,
)

_TOL = 1e-10
"""Relative gap of the solve; what is left of it, Newton's method takes away."""
_STEPS = 20
_OPEN = 1e-11
"""Relative size of singular values, and of neurons, that is rounding."""
EXPLAINED = 1e-6
"""Relative distance from the fit up to which atoms make it up."""
_SAME = 1e-6
"""Unit directions this close are one."""


@dataclass(frozen=True, eq=False)
class Support:
    """The directions of price alpha at an optimal dual point, and the optimal outputs."""

    X: Floats
    """(n, d), the samples of positive weight."""
    directions: Floats
    """(m, d), unit rows, or (m, d + 1) with the hidden bias last."""
    signs: Floats
    """(m,)."""
    fit: Floats
    """(n,)."""
    free: Free


class Cells(NamedTuple):
    """Blocks with the face of their cone that the best neuron lies on."""

    maps: Floats
    """B = s P X' D, (k, d, n): B v is the projected gradient at the dual point v."""

    def slopes(self, v: Floats) -> tuple[Floats, Floats]:
        """Return unit directions u = B v / |B v|, (k, d), and prices |B v|, (k,)."""
        g = self.maps @ v
        prices = np.linalg.norm(g, axis=1)
        return g / np.where(prices > 0, prices, 1.0)[:, None], prices

    def atoms(self, directions: Floats) -> Floats:
        """Return B' u, (n, k): the gradients of the prices, and s max(0, X u) for u on the face."""
        return np.asarray((directions[:, None, :] @ self.maps)[:, 0, :].T)


def require_network(network: Any) -> ReLUNetwork:
    """Return a ReLU network with one output, on the host in float64, or raise UnsupportedError."""
    kind = getattr(network, "architecture", type(network).__name__)
    if kind != "relu":
        raise UnsupportedError(
            f"this is for two-layer ReLU networks with one output, not for {kind!r}; pass a "
            "ReLUNetwork, or a model fitted with architecture='relu'"
        )
    outputs = int(network.weights_out.shape[1])
    if outputs != 1:
        raise UnsupportedError(
            f"this is for networks with one output and the network has {outputs}; take its outputs "
            "one by one"
        )
    arrays = {name: to_numpy(value).astype(float) for name, value in network.parameters().items()}
    d, width = arrays["skip"].shape[0], arrays["weights_in"].shape[1]
    if width not in (d, d + 1):
        raise ValueError(f"weights_in has {width} columns; expected {d}, or {d + 1} with the bias")
    if len(arrays["weights_in"]) != len(arrays["weights_out"]):
        raise ValueError(
            f"weights_in has {len(arrays['weights_in'])} rows and weights_out "
            f"{len(arrays['weights_out'])}; expected one row per neuron in both"
        )
    return ReLUNetwork(**arrays)


def as_data(X: Any, width: int) -> Floats:
    """Return `X` (n, width) in float64; ValueError for other shapes and for NaN or infinity."""
    rows = to_numpy(np.asarray(X) if isinstance(X, list) else X).astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) == 0:
        raise ValueError(f"X has shape {rows.shape}; expected (n, {width}) with at least one row")
    if not np.isfinite(rows).all():
        raise ValueError("X holds NaN or infinite entries; drop or impute them")
    return rows


def off(free: Free, columns: Floats) -> Floats:
    """Return columns (n,) or (n, m) less their projections onto the unpenalised columns."""
    return np.asarray(columns - free.columns @ free.coefficients(columns))


def independent(free: Free, atoms: Floats, sizes: Floats, tol: float) -> Floats:
    """Return sizes c >= 0 with the same atoms c + F b for some b, and independent atoms in use.

    Their sum does not grow. Relative singular values and sizes below `tol` are zero.
    """
    _, spectrum, right = np.linalg.svd(off(free, atoms), full_matrices=False)
    rows, floor = spectrum[:, None] * right, tol * float(np.linalg.norm(atoms))
    target, sizes = rows @ sizes, sizes.copy()
    while len(used := np.flatnonzero(sizes)):
        _, spectrum, right = np.linalg.svd(rows[:, used])
        if int((spectrum > floor).sum()) == len(used):
            # each step rounds; the sizes that are left are determined anew
            sizes[used] = np.maximum(np.linalg.lstsq(rows[:, used], target)[0], 0.0)
            sizes[sizes < max(tol, _OPEN) * sizes.sum()] = 0.0
            break
        move = right[-1] if right[-1].sum() >= 0 else -right[-1]
        falls = move > 1e-12
        shares = np.where(falls, sizes[used] / np.where(falls, move, 1.0), np.inf)
        sizes[used] = np.maximum(sizes[used] - shares.min() * move, 0.0)
        sizes[used[int(shares.argmin())]] = 0.0
    return sizes


def problem_at(
    network: ReLUNetwork,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    gates: str | Floats = "own",
    fit_intercept: bool = True,
    skip: bool = False,
) -> Problem:
    """Return the training problem of a network on the gates of its neurons, or on others.

    `gates` is "own", "enumerate" or generators (p, d), d counting the bias. UnsupportedError for
    several outputs and other architectures, ValueError for data that do not fit the network.
    """
    network = require_network(network)
    X = as_data(X, len(network.skip))
    target = np.asarray(y, dtype=np.float64)
    if target.shape not in ((len(X),), (len(X), 1)) or not np.isfinite(target).all():
        raise ValueError(
            f"y has shape {target.shape} and X {len(X)} rows; expected one finite number per row"
        )
    if not 0 < alpha < np.inf:
        raise ValueError(f"alpha is {alpha}; expected a positive number")
    sample_loss: SampleLoss = named("loss", loss, LOSSES, LOSSES)
    weights, keep = positive_weights(sample_weight, len(X))
    bias = network.weights_in.shape[1] > X.shape[1]
    rules = network.weights_in[network.weights_in.any(axis=1)]
    if not len(rules):  # the gate of a zero vector is open everywhere
        rules = np.zeros((1, network.weights_in.shape[1]))
    choice = named("gates", gates, {"own": rules, "enumerate": "enumerate"}, ("own", "enumerate"))
    rng = np.random.default_rng(0)  # given and enumerated gates draw nothing
    drawn, scope = gates_of(ReLU(bias), X[keep], choice, 1, rng)
    return problem_of(
        ReLU(bias),
        X[keep],
        target.reshape(-1, 1)[keep],
        weights[keep],
        sample_loss,
        drawn,
        scope=scope,
        intercept=fit_intercept,
        skip=skip,
    ).at(alpha)


def support_of_network(
    network: ReLUNetwork,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    gates: str | Floats = "enumerate",
    fit_intercept: bool = True,
    skip: bool = False,
    tol: float = 1e-3,
) -> Support:
    """Return the support of the problem that a network is an optimum of."""
    problem = problem_at(
        network,
        X,
        y,
        sample_weight,
        alpha=alpha,
        loss=loss,
        gates=gates,
        fit_intercept=fit_intercept,
        skip=skip,
    )
    return _settle(problem, require_network(network), tol)


def support_of_model(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    gates: str | Floats = "own",
    tol: float = 1e-3,
) -> Support:
    """Return the support of a fitted estimator's problem on the data that it was trained on."""
    network = require_network(model.network_)
    if model.directions_ is not None:
        raise UnsupportedError("this is for all columns, not for a rank; fit without rank")
    evidence = model.evidence(X, y, sample_weight)
    if evidence.objections:
        raise ValueError(f"{'; '.join(evidence.objections)}; pass the data of fit")
    lift: Any = evidence.program.lift
    features = np.asarray(lift.inner.features, dtype=np.float64)
    mean = evidence.program.loss
    own = isinstance(gates, str) and gates == "own"
    problem = problem_at(
        network,
        features[:, : len(network.skip)],
        mean.target,
        mean.weights[:, 0],
        alpha=model.alpha_,
        loss=mean.loss,
        gates=model.generators_ if own else gates,
        fit_intercept=model.fit_intercept,
        skip=model.skip_,
    )
    return _settle(problem, network, tol)


def _settle(problem: Problem, network: ReLUNetwork, tol: float) -> Support:
    """Solve to the last digits, and read the support off the dual point."""
    trained = train(problem, solver_for(problem.program, "auto")[0], tol=_TOL)
    optimum = trained.certificate.upper
    excess = problem.objective(network) - optimum
    if excess > tol * abs(optimum) + trained.certificate.resolution:
        raise ValueError(
            f"the network's objective is {optimum + excess:.6g} and the optimum {optimum:.6g}; "
            f"train it further, or raise tol, which is {tol:.1e}"
        )
    features = problem.architecture.features(problem.X)
    for v, fit, slack in _dual_points(problem, trained):
        directions, signs, prices = support(problem.program, v, slack)
        atoms = np.maximum(features @ directions.T, 0.0) * signs
        _, left = least_sizes(problem.free, atoms, fit)
        if prices.max(initial=0.0) <= 1 + 10 * slack and left <= EXPLAINED * np.linalg.norm(fit):
            return Support(problem.X, directions, signs, fit, problem.free)
    raise CvxnnError(
        "the dual point could not be settled to more digits than tell which neurons are optimal; "
        "standardise the data, or raise alpha"
    )


def least_sizes(free: Free, atoms: Floats, fit: Floats) -> tuple[Floats, float]:
    """Return sizes c >= 0 of least |atoms c + F b - fit| over b, and that distance."""
    target = off(free, fit)
    if atoms.shape[1] == 0:
        return np.zeros(0), float(np.linalg.norm(target))
    return nnls(off(free, atoms), target)


def support(program: Program, dual: Floats, tol: float) -> tuple[Floats, Floats, Floats]:
    """Return the distinct directions of price at least (1 - tol) alpha at a dual point (n,).

    Directions (m, d), signs (m,), and prices (m,) as multiples of alpha. The best direction of a
    cone is the projection of s X' D v onto it, at unit length; a direction on a common face is
    the best of several cones and is kept once.
    """
    column = dual[:, None]
    pulls = program.lift.adjoint(column)[:, :, 0]
    rough = to_numpy(gauges(program, column, enough=1 - tol))
    none = np.zeros(0, dtype=np.int64)
    found: list[tuple[Floats, float, float]] = []
    for block in np.flatnonzero(rough >= 1 - tol):
        g, _ = nearest(_walls(program, int(block)), pulls[block], none)
        price = float(program.penalty.polar(g[None, :, None])[0])
        if price < 1 - tol:
            continue
        unit, sign = g / np.linalg.norm(g), 1.0 if block < len(rough) // 2 else -1.0
        if not any(s == sign and np.linalg.norm(u - unit) < _SAME for u, s, _ in found):
            found.append((unit, sign, price))
    rows = np.array([u for u, _, _ in found]).reshape(-1, pulls.shape[1])
    return rows, np.array([s for _, s, _ in found]), np.array([p for _, _, p in found])


def _walls(program: Program, block: int) -> Floats:
    constraint: Any = program.constraint
    return unit_rows(constraint.map.rows(block))


def _dual_points(problem: Problem, trained: Trained) -> list[tuple[Floats, Floats, float]]:
    """Return dual points, training outputs and the precision of prices, the sharpest first."""
    program, iterate = problem.program, trained.solution.iterate
    v = np.asarray(iterate.dual[:, 0])
    fit = program.predict(iterate.blocks, iterate.free)[:, 0]
    found = [(v, fit, slack) for slack in (1e-6, 1e-5, 1e-4)]
    if np.isfinite(program.loss.smoothness):
        sharp, outputs = _sharpen(problem, iterate, v)
        if np.linalg.norm(sharp + _gradient(program.loss, outputs)) <= 1e-9 * np.linalg.norm(v):
            # a direction at an angle t from an optimal one has price 1 - t^2 / 2
            found.insert(0, (sharp, outputs, 1e-10))
    return found


def _sharpen(problem: Problem, iterate: Iterate, v: Floats) -> tuple[Floats, Floats]:
    """Return dual point and outputs at the solution of the optimality equations near `iterate`.

    v + gradient L(A c + F b) = 0, F' v = 0 and price alpha for each of an independent set of
    neurons, whose directions and atoms A follow v on the faces they lie on; by Newton's method.
    """
    program, alpha, columns = problem.program, problem.alpha, problem.free.columns
    cells, c = _active(problem, iterate, v)
    outputs, n = program.predict(iterate.blocks, iterate.free), len(v)
    rest = outputs - (cells.atoms(cells.slopes(v)[0]) @ c)[:, None]
    b = problem.free.coefficients(rest)[:, 0]
    best, least = (v, outputs[:, 0]), np.inf
    for _ in range(_STEPS):
        u, prices = cells.slopes(v)
        atoms = cells.atoms(u)
        beside = np.column_stack([atoms, columns])
        units = np.linalg.norm(beside, axis=0)
        fit = atoms @ c + columns @ b
        wrong = v + _gradient(program.loss, fit)
        short = np.concatenate([prices - alpha, columns.T @ v]) / units
        size = float(np.linalg.norm(np.concatenate([wrong, short])))
        if not size < least or c.min(initial=0.0) < -_SAME * c.sum():
            break
        best, least = (v, fit), size
        curve = program.loss.curvature(fit[:, None])
        whole = np.eye(n) + curve * _turning(cells, atoms, c, prices)
        solved = np.linalg.solve(whole, np.column_stack([wrong, curve * beside / units]))
        # v moves by -(solved[:, 0] + solved[:, 1:] more), so that the prices come out
        schur = (beside / units).T @ solved[:, 1:]
        more = _least(schur, short - (beside / units).T @ solved[:, 0])
        v = v - solved[:, 0] - solved[:, 1:] @ more
        c, b = c + more[: len(c)] / units[: len(c)], b + more[len(c) :] / units[len(c) :]
    return best


def _least(gram: Floats, right: Floats) -> Floats:
    """Return the least x with gram x = right in equal units; singular values of rounding are zero.

    There are some where the loss is not strictly convex: no step along what it leaves open.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
    scale = np.where(scale > 0, scale, 1.0)
    solved = np.linalg.lstsq(gram / np.outer(scale, scale), right / scale, _OPEN)[0]
    return np.asarray(solved / scale)


def _gradient(loss: Mean, fit: Floats) -> Floats:
    return np.asarray(loss.gradient(fit[:, None])[:, 0])


def _turning(cells: Cells, atoms: Floats, c: Floats, prices: Floats) -> Floats:
    """Return sum_k c_k (B_k' B_k - a_k a_k') / price_k, the derivative of A(v) c in v, (n, n)."""
    share = c / np.where(prices > 0, prices, 1.0)
    flat = (cells.maps * share[:, None, None]).reshape(-1, cells.maps.shape[2])
    whole = flat.T @ cells.maps.reshape(flat.shape)
    return np.asarray(whole - (atoms * share) @ atoms.T)


def _active(problem: Problem, iterate: Iterate, v: Floats) -> tuple[Cells, Floats]:
    """Return the faces that an independent set of active neurons lies on, and their sizes."""
    program, blocks = problem.program, iterate.blocks[:, :, 0]
    sizes = np.linalg.norm(blocks, axis=1)
    active = np.flatnonzero(sizes > 1e-6 * sizes.sum())
    features = problem.architecture.features(problem.X)
    n, d = features.shape
    signs = np.where(active < len(problem.gates), 1.0, -1.0)
    units = blocks[active] / sizes[active, None]
    atoms = np.maximum(features @ units.T, 0.0) * signs
    heights = np.linalg.norm(atoms, axis=0)
    kept = independent(problem.free, atoms / heights, sizes[active] * heights, 1e-6) / heights
    used = np.flatnonzero(kept)
    pulls = program.lift.adjoint(v[:, None])[:, :, 0]
    maps = [np.zeros((0, d, n))]
    for block, sign in zip(active[used], signs[used], strict=True):
        rows = _walls(program, int(block))
        _, faces = nearest(rows, pulls[block], np.zeros(0, dtype=np.int64))
        mask = problem.gates.masks[block % len(problem.gates)]
        face, spectrum, _ = np.linalg.svd(rows[faces].T, full_matrices=False)
        face = face[:, spectrum > 1e-9]
        whole = sign * (features * mask[:, None]).T
        maps.append((whole - face @ (face.T @ whole))[None])
    return Cells(np.concatenate(maps)), kept[used]
