"""Local descent on many random networks at once: what no proved bound may exceed.

A second opinion that shares no code with the library: its own losses, gradients and steps.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]

HALVINGS = ((1000, 12), (40, 60), (6, 150))
"""How many of the networks go on, the best ones, and for how many steps."""
RATE = 0.1


class Task(NamedTuple):
    """Minimise sum_i w_i loss(f_i, y_i) + alpha sum_j |u_j| |a_j|, f = (X u)_+ a + b."""

    X: Floats
    """(n, p), with a column of ones for a bias."""
    y: Floats
    weights: Floats
    """(n,), summing to one."""
    loss: str
    alpha: float
    intercept: bool


class Many(NamedTuple):
    """R networks of m neurons."""

    u: Floats
    """(p, R, m)."""
    a: Floats
    """(R, m)."""
    b: Floats
    """(R,)."""

    def take(self, index: Any) -> "Many":
        return Many(self.u[:, index], self.a[index], self.b[index])


def losses(loss: str, f: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The loss of every prediction and its slope."""
    match loss:
        case "squared":
            return (f - y) ** 2 / 2, f - y
        case "huber":
            slope = np.clip(f - y, -1, 1)
            return slope * (f - y - slope / 2), slope
        case "logistic":
            return np.logaddexp(0, -y * f), -y / (1 + np.exp(np.minimum(y * f, 80)))
    short = np.maximum(1 - y * f, 0)
    return short**2 / 2, -y * short


def slopes(task: Task, nets: Many) -> tuple[Floats, Many]:
    """The objective of every network, with squared weights for weight decay, and its gradient."""
    n, (p, count, width) = len(task.X), nets.u.shape
    pre = (task.X @ nets.u.reshape(p, -1)).reshape(n, count, width)
    hidden = np.maximum(pre, 0)
    f = np.einsum("nrm,rm->nr", hidden, nets.a) + nets.b
    each, slope = losses(task.loss, f, task.y[:, None])
    slope = slope * task.weights[:, None]
    decay = (nets.u**2).sum(axis=(0, 2)) + (nets.a**2).sum(axis=1)
    back = np.where(pre > 0, slope[:, :, None], 0) * nets.a
    return task.weights @ each + task.alpha / 2 * decay, Many(
        (task.X.T @ back.reshape(n, -1)).reshape(nets.u.shape) + task.alpha * nets.u,
        np.einsum("nrm,nr->rm", hidden, slope) + task.alpha * nets.a,
        slope.sum(axis=0) * task.intercept,
    )


def objectives(task: Task, nets: Many) -> Floats:
    """The objectives, with products of norms for weight decay: never above those of `slopes`."""
    f = np.einsum("nrm,rm->nr", np.maximum(np.einsum("np,prm->nrm", task.X, nets.u), 0), nets.a)
    each, _ = losses(task.loss, f + nets.b, task.y[:, None])
    sizes = (np.linalg.norm(nets.u, axis=0) * np.abs(nets.a)).sum(axis=1)
    return np.asarray(task.weights @ each + task.alpha * sizes)


def drawn(task: Task, rng: np.random.Generator, count: int, width: int) -> Many:
    """Random networks, their layers balanced, whose outputs are about as large as targets."""
    u = rng.standard_normal((task.X.shape[1], count, width))
    size = np.abs(task.y).mean() / (width**0.5 * np.abs(task.X).mean() + 1e-12) + 1e-3
    u *= size**0.5 / np.linalg.norm(u, axis=0)
    a = rng.choice([-1.0, 1.0], (count, width)) * size**0.5
    return Many(u, a, np.zeros(count))


def steps(task: Task, nets: Many, count: int) -> Many:
    """Adam, its rate falling to a twentieth."""
    point, first, second = list(nets), [0 * part for part in nets], [0 * part for part in nets]
    for k in range(count):
        rate = RATE * 0.05 ** (k / count)
        for i, slope in enumerate(slopes(task, Many(*point))[1]):
            first[i] = 0.8 * first[i] + 0.2 * slope
            second[i] = 0.95 * second[i] + 0.05 * slope**2
            size = np.sqrt(second[i] / (1 - 0.95 ** (k + 1))) + 1e-9
            point[i] = point[i] - rate / (1 - 0.8 ** (k + 1)) * first[i] / size
    return Many(*point)


def finished(task: Task, net: Many) -> Many:
    """One network taken to where L-BFGS ends."""
    ends = np.cumsum([part.size for part in net])[:-1]

    def unpack(z: Floats) -> Many:
        parts = np.split(z, ends)
        return Many(*(part.reshape(old.shape) for part, old in zip(parts, net, strict=True)))

    def value(z: Floats) -> tuple[float, Floats]:
        objective, gradient = slopes(task, unpack(z))
        return float(objective[0]), np.concatenate([part.ravel() for part in gradient])

    start = np.concatenate([part.ravel() for part in net])
    return unpack(minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x)


def best_of(task: Task, rng: np.random.Generator, width: int = 8) -> tuple[float, Many]:
    """The best of a thousand restarts and its objective; the two best are finished."""
    light = task._replace(
        X=task.X.astype(np.float32),
        y=task.y.astype(np.float32),
        weights=task.weights.astype(np.float32),
    )
    nets = drawn(task, rng, HALVINGS[0][0], width)
    nets = Many(*(part.astype(np.float32) for part in nets))
    for count, number in HALVINGS:
        nets = nets.take(np.argsort(slopes(light, nets)[0])[:count])
        nets = steps(light, nets, number)
    order = np.argsort(slopes(light, nets)[0])[:2]
    nets = Many(*(part.astype(np.float64) for part in nets))
    ends = [finished(task, nets.take([k])) for k in order]
    values = [float(objectives(task, end)[0]) for end in ends]
    return min(values), ends[int(np.argmin(values))]


def outputs(task: Task, net: Many) -> Floats:
    """The predictions (n,) of one network."""
    hidden = np.maximum(task.X @ net.u[:, 0], 0)
    return np.asarray(hidden @ net.a[0] + net.b[0])


def ascent(
    X: Floats, v: Floats, rng: np.random.Generator, starts: int = 200
) -> tuple[float, float]:
    """The largest v'(Xu)_+ over unit u that fixed-point steps come upon, and that of -v."""
    best = [0.0, 0.0]
    for k, signed in enumerate((v, -v)):
        u = rng.standard_normal((X.shape[1], starts))
        for _ in range(60):
            u = u / np.maximum(np.linalg.norm(u, axis=0), 1e-300)
            hidden = X @ u
            best[k] = max(best[k], float((signed @ np.maximum(hidden, 0)).max()))
            pull = X.T @ ((hidden > 0) * signed[:, None])
            u = 0.3 * np.linalg.norm(pull, axis=0) * u + pull
    return best[0], best[1]
