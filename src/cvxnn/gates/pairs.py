"""Gates of attention: which pairs of tokens a score opens."""

from dataclasses import dataclass

import numpy as np

from cvxnn.arrays import Array, namespace, to_numpy
from cvxnn.gates.base import Floats, Gates, Masks, distinct, host_features
from cvxnn.gates.borders import ROUNDING
from cvxnn.gates.enumerate import enumerate_patterns

_CELLS = 2**21
"""Entries of the largest temporary."""
_FLAT = 1e-9
"""Length of a vector, relative to what it was, that is rounding."""


def opened(tokens: Array, rule: Array) -> Array:
    """Return 1[x_t' H x_u >= 0] for the pairs of tokens (n, s, d) of a sequence, (n, s, s).

    A score within rounding counts as zero, so that masks do not hang on the order of a sum.
    """
    xp = namespace(tokens)
    turned = xp.matrix_transpose(tokens)
    scores = xp.matmul(xp.matmul(tokens, rule), turned)
    size = xp.matmul(xp.matmul(xp.abs(tokens), xp.abs(rule)), xp.abs(turned))
    return scores >= -ROUNDING * size


@dataclass(frozen=True)
class Pairs:
    """The gates of attention on sequences of `tokens` tokens [Sahiner2022].

    Features are the tokens (n s, d), generators are matrices H (p, d, d), and masks (p, n s, s)
    tell whether token t of a sequence sees token u. Random ones are Gaussian and orthogonal to the
    mean token, or most scores would have one sign.

    >>> X = np.array([[1.0], [-2.0]])
    >>> Pairs(2).given(X, np.ones((1, 1, 1))).masks.astype(int).tolist()
    [[[1, 0], [0, 1]]]
    """

    tokens: int

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width, width)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return one gate per matrix of `generators` (p, d, d), all kept, in order."""
        rules = np.asarray(to_numpy(generators), dtype=np.float64)
        width = features.shape[1]
        if rules.ndim != 3 or rules.shape[1:] != (width, width):
            raise ValueError(
                f"gates have shape {rules.shape}; expected (p, {width}, {width}): one matrix of "
                "scores between tokens per gate"
            )
        if not np.isfinite(rules).all():
            raise ValueError("gates hold NaN or infinite entries; pass finite numbers")
        return Gates(rules, self._masks(rules, host_features(features)))

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the distinct ones of `count` random gates."""
        x = host_features(features)
        rules = rng.standard_normal((count, x.shape[1], x.shape[1]))
        mean = x.mean(axis=0, dtype=np.float64)
        length = np.linalg.norm(mean)
        if x.shape[1] > 1 and length > _FLAT * np.abs(x).max(initial=0.0):
            away = np.eye(len(mean)) - np.outer(mean, mean) / length**2
            rules = away @ rules @ away
        return self.useful(self.given(x, rules), x)

    def every(self, features: Array) -> Gates:
        """Return the cells of all matrices of scores that are open on some pair."""
        x = host_features(features).astype(np.float64, copy=False)
        grouped = x.reshape(-1, self.tokens, x.shape[1])
        products = grouped[:, :, None, :, None] * grouped[:, None, :, None, :]
        cells = enumerate_patterns(products.reshape(-1, x.shape[1] ** 2))
        rules = cells.generators.reshape(-1, x.shape[1], x.shape[1])
        return self.useful(self.given(x, rules), x)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that are open somewhere; all of them if none is."""
        kept = distinct(gates)
        return kept if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks

    def _masks(self, rules: Floats, x: Floats) -> Masks:
        n, s = len(x) // self.tokens, self.tokens
        masks = np.empty((len(rules), n, s, s), dtype=np.bool_)
        step = max(1, _CELLS // max(1, s * max(s, x.shape[1])))
        for start in range(0, n, step):
            part = x[start * s : (start + step) * s].astype(np.float64, copy=False)
            some = part.reshape(-1, s, x.shape[1])
            for gate, rule in enumerate(rules):
                masks[gate, start : start + step] = opened(some, rule)
        return masks.reshape(len(rules), n * s, s)
