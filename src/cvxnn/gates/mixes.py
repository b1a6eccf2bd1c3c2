"""Gates of mixers: which channels a mix of tokens opens."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from cvxnn.arrays import Array, namespace, to_numpy
from cvxnn.gates.base import Floats, Gates, Masks, distinct, host_features
from cvxnn.gates.borders import ROUNDING
from cvxnn.gates.enumerate import enumerate_patterns

_FLAT = 1e-9
"""Length of a vector, relative to what it was, that is rounding."""
_MOST = 2**16
"""Gates that are enumerated."""


def passed(tokens: Array, rule: Array) -> Array:
    """Return 1[G X >= 0] for the tokens (n, s, d) of sequences and G (s, s), (n, s, d).

    A value within rounding counts as zero, so that masks do not hang on the order of a sum.
    """
    xp = namespace(tokens)
    return xp.matmul(rule, tokens) >= -ROUNDING * xp.matmul(xp.abs(rule), xp.abs(tokens))


@dataclass(frozen=True)
class Mixes:
    """The gates of mixers on sequences of `tokens` tokens [Sahiner2022].

    Features are the tokens (n s, d), generators are matrices G (p, s, s), and masks (p, n s, d)
    tell where G X is not negative. Random ones are Gaussian and orthogonal to the mean channel.

    >>> Mixes(2).given(np.array([[1.0], [-2.0]]), np.eye(2)[None]).masks.astype(int).tolist()
    [[[1], [0]]]
    """

    tokens: int
    marked: bool = False
    """Whether the first column of the features is a mark, and no channel."""

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator."""
        return (self.tokens, self.tokens)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return one gate per matrix of `generators` (p, s, s), all kept, in order."""
        rules, s = np.asarray(to_numpy(generators), dtype=np.float64), self.tokens
        if rules.ndim != 3 or rules.shape[1:] != (s, s):
            raise ValueError(
                f"gates have shape {rules.shape}; expected (p, {s}, {s}): one matrix that mixes "
                "tokens per gate"
            )
        if not np.isfinite(rules).all():
            raise ValueError("gates hold NaN or infinite entries; pass finite numbers")
        x = self._channels(features)
        masks = [passed(x, rule).reshape(-1, x.shape[2]) for rule in rules]
        return Gates(rules, np.array(masks, dtype=np.bool_).reshape(len(rules), -1, x.shape[2]))

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the distinct ones of `count` random gates."""
        x, s = self._channels(features), self.tokens
        rules = rng.standard_normal((count, s, s))
        mean = x.mean(axis=(0, 2))
        length = np.linalg.norm(mean)
        if s > 1 and length > _FLAT * np.abs(x).max(initial=0.0):
            rules = rules @ (np.eye(s) - np.outer(mean, mean) / length**2)
        return self.useful(self.given(features, rules), features)

    def every(self, features: Array) -> Gates:
        """Return the cells of all matrices that are open somewhere: a cell for each of their rows.

        Raises ValueError where there are too many.
        """
        x, s = self._channels(features), self.tokens
        rows = enumerate_patterns(x.swapaxes(1, 2).reshape(-1, s)).generators
        if len(rows) ** s > _MOST:
            raise ValueError(
                f"there are {len(rows)}^{s} gates of mixers on these sequences; enumerating takes "
                f"at most {_MOST}: pass gates='sample'"
            )
        rules = np.array(list(product(rows, repeat=s))).reshape(-1, s, s)
        return self.useful(self.given(features, rules), features)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that are open somewhere; all of them if none is."""
        kept = distinct(gates)
        return kept if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks

    def _channels(self, features: Array) -> Floats:
        """Return the tokens (n, s, d) without marks, on the host in float64."""
        x = host_features(features).astype(np.float64, copy=False)
        return np.asarray(x.reshape(-1, self.tokens, x.shape[1])[:, :, int(self.marked) :])
