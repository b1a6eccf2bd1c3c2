"""Pricing: the neurons that a dual point wants most."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.everywhere.neurons import whitening as spread

_PERIOD, _FEWEST, _SAME = 8, 64, 0.999
"""Steps after which candidates are dropped, the worse half but for so many, and, before another
generation, those whose cosine with a better one is beyond that: they climb the same hill."""
_BREAK = 0.5
"""Length of the noise, at most, that is added to a sum of two candidates."""
ROOM = 30_000_000
"""Products of rows and candidates that are held at a time, where that leaves the fewest."""
_FIRST, _MEMORY, _REFUSED = 0.5, 0.85, 0.5
"""First step, share of the course so far that is kept, and weight of the gradient of a point that
was no better: mixed, the gradients on both sides of a kink point along it."""
_NOISE = 0.3
"""Length of the noise that is added to a unit neuron."""


class Priced(NamedTuple):
    """Candidate neurons, the most wanted first."""

    directions: Array
    """u, (m, d), unit rows."""
    outputs: Array
    """s, (m, c), unit rows."""
    values: Array
    """s' V' max(0, X u), (m,); a neuron lowers the objective if this exceeds alpha."""


def price(
    features: Array,
    dual: Array,
    rng: np.random.Generator,
    *,
    starts: int = 256,
    steps: int = 25,
    own: Array | None = None,
    generations: int = 0,
    whitening: Array | None = None,
) -> Priced:
    """Look for unit neurons (u, s) with the largest s' V' max(0, X u), V the dual point (n, c).

    The problem is NP-hard in general [Pilanci2020]; this is batched ascent, two products a step,
    from `starts` random directions and from unit neurons `own` (k, d), with both signs of a single
    output. Half of the random ones are drawn with `whitening` (d, d), computed if not given. With
    `generations` the worse candidates are left behind every few steps, and that many times in all
    as many ascend anew, those after the first from sums of two of the best. What it finds is a
    lower bound on the maximum, and a neuron that attains it.

    >>> X, V = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [1.0]])
    >>> best = price(X, V, np.random.default_rng(0))
    >>> round(float(best.values[0]) ** 2, 6)
    5.0
    """
    whiten = spread(to_numpy(features)) if whitening is None else whitening
    directions, signs = _starts(whiten, rng, starts, own), None
    if dual.shape[1] == 1:
        signs = np.repeat([[1.0], [-1.0]], len(directions), axis=0)
        directions = np.concatenate([directions, directions])
    # near a kink at the top several on one hill come closer than one: they go if it is not the last
    same = _SAME if generations > 1 else math.inf
    found = _climbed(features, dual, directions, signs, steps, same if generations else None)
    for _ in range(generations - 1):
        directions, signs = _bred(found, rng, starts, single=signs is not None)
        found = _climbed(features, dual, directions, signs, steps, same)
    return found


def _climbed(
    features: Array,
    dual: Array,
    directions: Array,
    signs: Array | None,
    steps: int,
    same: float | None,
) -> Priced:
    """Return what is found from directions (k, d) with signs (k, 1), some of them at a time.

    `same` is a cosine beyond which the worse one of two goes; None where all stay to the end.
    """
    room = max(ROOM // max(features.shape[0], 1), _FEWEST)
    parts = [
        _ascended(
            features,
            dual,
            directions[first : first + room],
            None if signs is None else signs[first : first + room],
            steps,
            same,
        )
        for first in range(0, len(directions), room)
    ]
    return parts[0] if len(parts) == 1 else best_of(parts)


def _bred(
    found: Priced, rng: np.random.Generator, count: int, *, single: bool
) -> tuple[Array, Array | None]:
    """Return the best of what was found, and as many noisy sums of two of them, with their signs.

    The better one is, the more often it is the first of two; only equal signs are added up.
    """
    stock, signs = (to_numpy(x)[:_FEWEST].astype(np.float64) for x in found[:2])
    first, again, second = rng.integers(0, len(stock), (3, count))
    first = np.minimum(first, again)
    shares, lengths = rng.uniform(0.0, (1.0, _BREAK), (count, 2)).T[:, :, None]
    if single:
        shares = shares * (signs[first] == signs[second])
    noise = rng.standard_normal((count, stock.shape[1]))
    noise *= lengths / np.linalg.norm(noise, axis=1, keepdims=True)
    young = stock[first] + shares * stock[second] + noise
    directions = np.concatenate([stock, young])
    return directions, np.concatenate([signs, signs[first]]) if single else None


def _ascended(
    features: Array,
    dual: Array,
    directions: Array,
    signs: Array | None,
    steps: int,
    same: float | None,
) -> Priced:
    """Return the candidates that batched ascent finds."""
    xp = namespace(features, dual)
    turned = None if signs is None else like(signs, features)
    point = _unit(like(directions, features))
    best, course = point, 0 * point
    value = xp.full((point.shape[0],), -xp.inf, dtype=features.dtype) + 0 * point[:, 0]
    pull = turned if turned is not None else 0 * (point[:, :1] + dual[:1, :])
    step = 0 * point[:, 0] + _FIRST
    pulled = features * dual[:, :1]
    for count in range(1, steps + 1):
        fit = features @ point.T
        if turned is None:
            wish = _unit(xp.clip(fit, min=0.0).T @ dual)
            gradient = (xp.astype(fit > 0, features.dtype) * (dual @ wish.T)).T @ features
        else:
            wish = turned
            gradient = turned * (xp.astype(fit > 0, features.dtype).T @ pulled)
        here = xp.sum(gradient * point, axis=1)
        better = here > value
        column = better[:, None]
        best, pull = xp.where(column, point, best), xp.where(column, wish, pull)
        value = xp.where(better, here, value)
        weight = _REFUSED + (1 - _REFUSED) * xp.astype(column, features.dtype)
        course = _MEMORY * course + weight * _unit(gradient)
        if count > 1:
            step = xp.where(better, xp.clip(1.3 * step, max=1.0), 0.5 * step)
        point = _unit((1 - step)[:, None] * best + step[:, None] * _unit(course))
        if same is not None and count % _PERIOD == 0:
            kept = _apart(best, turned, value, same)
            point, best, course, pull, value, step = (
                xp.take(x, kept, axis=0) for x in (point, best, course, pull, value, step)
            )
            turned = None if turned is None else xp.take(turned, kept, axis=0)
    order = xp.argsort(-value)
    return Priced(*(xp.take(x, order, axis=0) for x in (best, pull, value)))


def _apart(directions: Array, signs: Array | None, values: Array, same: float) -> Array:
    """Return the rows of the better half that are the same as no better one of their sign."""
    xp = namespace(directions)
    count = values.shape[0]
    half = xp.argsort(-values)[: min(max(_FEWEST, count // 2), count)]
    if same >= 1:
        return half
    some = xp.take(directions, half, axis=0)
    cosines = some @ some.T
    if signs is not None:
        side = xp.take(signs, half, axis=0)
        cosines = cosines * (side @ side.T)
    close = xp.any(xp.tril(cosines, k=-1) > same, axis=1)
    return half[~close]


def best_of(several: Sequence[Priced]) -> Priced:
    """Return the candidates of several searches as one."""
    xp = namespace(several[0].values)
    joined = [xp.concat(parts) for parts in zip(*several, strict=True)]
    order = xp.argsort(-joined[2])
    return Priced(*(xp.take(x, order, axis=0) for x in joined))


def _starts(whitening: Array, rng: np.random.Generator, count: int, own: Array | None) -> Array:
    """Draw directions (count, d): a half isotropic, a half between that and whitened.

    Where there are neurons, two thirds of them are neurons with noise and sums of two: what a
    network still lacks is found near and between what it has.
    """
    noise = rng.standard_normal((count, len(whitening)))
    noise[::2] = noise[::2] @ whitening
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    if own is None or not len(own):
        return noise
    first, second = rng.integers(0, len(own), (2, count))
    third = count // 3
    noise[:third] = own[first[:third]] + _NOISE * noise[:third]
    signs = rng.choice([-1.0, 1.0], (third, 1))
    noise[third : 2 * third] = own[first[:third]] + signs * own[second[:third]]
    return np.concatenate([noise, own])


def _unit(x: Array) -> Array:
    """Return the rows at unit length; rows of zeros stay."""
    xp = namespace(x)
    lengths = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))  # vector_norm takes twice as long
    return x / xp.where(lengths > 0, lengths, 1.0)
