"""Gates of filters on patches: joint patterns over all places, and winners of pooling cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array
from cvxnn.gates.base import Floats, Gates, Masks, distinct, host_features
from cvxnn.gates.borders import ROUNDING, reached_masks
from cvxnn.gates.enumerate import enumerate_patterns
from cvxnn.gates.trained import from_generators
from cvxnn.patches import Patches

KINDS = ("patches", "gaussian", "both")
_FLAT = 1e-9
"""Length of a centred patch, as a share of the patch's, below which the patch is constant."""
_CELLS = 2**21
"""Entries of the largest temporary."""


def centred(vectors: Floats, width: int) -> Floats:
    """Return the first `width` entries of every row less their mean, of unit length, and zeros.

    A gate that is orthogonal to constant patches is as often open as closed on patches without
    negative entries, where others hardly vary. Rows that are constant are left out; of a single
    entry there is no mean to take off.
    """
    parts = vectors[:, :width]
    moved = parts - parts.mean(axis=1, keepdims=True) if width > 1 else parts
    lengths = np.linalg.norm(moved, axis=1)
    kept = lengths > _FLAT * np.linalg.norm(parts, axis=1)
    rules = np.zeros((int(kept.sum()), vectors.shape[1]))
    rules[:, :width] = moved[kept] / lengths[kept, None]
    return rules


@dataclass(frozen=True)
class PatchGates:
    """The gates of filters whose activations are added up over places.

    A pattern is joint over patches: features are the patches (n K, h), and masks (p, n K). Gates
    are drawn from the data's own patches, from Gaussians, or half of either; all are orthogonal to
    constant patches, and zero on the bias. A product within rounding counts as positive, so that
    patterns on constant patches do not hang on the order of a sum.

    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> gates = PatchGates(width=2).draw(X, 10, np.random.default_rng(0))
    >>> sorted(gates.masks.astype(int).tolist())
    [[0, 1, 1], [1, 0, 1]]
    """

    width: int
    """h, the entries of a patch without the bias."""
    kind: str = "both"
    """"patches", "gaussian" or "both"."""

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width,)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return one gate per row of `generators` (p, h) or (p, h + 1), all kept, in order."""
        plain = from_generators(features, generators)
        return Gates(plain.generators, self._masks(plain.generators, features))

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the distinct ones of `count` gates; Gaussian ones where all patches are flat."""
        x = host_features(features)
        own = drawn_patches(x, self.width, count if self.kind == "patches" else count // 2, rng)
        own = own[:0] if self.kind == "gaussian" else own
        more = count - len(own) if self.kind != "patches" or not len(own) else 0
        noise = np.zeros((more, x.shape[1]))
        noise[:, : self.width] = rng.standard_normal((more, self.width))
        rules = np.concatenate([own, centred(noise, self.width)])
        gates = self.useful(self.given(x, rules), x)
        return gates if gates.masks.any() else self.given(x, -gates.generators[:1])

    def every(self, features: Array) -> Gates:
        """Return the cells of the hyperplanes of all patches, open on some place."""
        cells = enumerate_patterns(features)
        inside = (self._masks(cells.generators, features) == cells.masks).all(axis=1)
        return self.useful(cells.take(inside), features)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that are open somewhere; all of them if none is."""
        kept = distinct(gates)
        return kept if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks

    def _masks(self, generators: Floats, features: Array) -> Masks:
        return reached_masks(generators, host_features(features))


@dataclass(frozen=True)
class Winners:
    """The gates of filters under max pooling: who wins each cell, or that nobody is active.

    Masks (p, n K) hold at most a single one in every sample's cell: the first of the patches that
    a gate values most, where it values them at zero or more.

    >>> from cvxnn.patches import patches_of
    >>> patches = patches_of((1, 3), kernel=1)
    >>> X = np.array([[1.0], [3.0], [2.0]])  # a signal, place by place
    >>> Winners(patches).every(X).masks.astype(int).tolist()
    [[0, 1, 0]]
    """

    patches: Patches
    kind: str = "both"

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width,)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return one gate per row of `generators` (p, h) or (p, h + 1), all kept, in order."""
        plain = from_generators(features, generators)
        x = host_features(features)
        return Gates(plain.generators, winners(plain.generators, x, self.patches))

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return those of `count` gates of `PatchGates` that differ in their winners."""
        drawn = PatchGates(self.patches.width, self.kind).draw(features, count, rng)
        return self.useful(self.given(features, drawn.generators), features)

    def every(self, features: Array) -> Gates:
        """Return a gate for all winners that an open set of filters has."""
        x = np.asarray(host_features(features), dtype=np.float64)
        planes = [x]
        for cell in places_of(self.patches):
            first, second = np.triu_indices(len(cell), 1)
            inside = x.reshape(-1, self.patches.count, x.shape[1])[:, cell]
            planes.append((inside[:, first] - inside[:, second]).reshape(-1, x.shape[1]))
        cells = enumerate_patterns(np.concatenate(planes))
        return self.useful(self.given(features, cells.generators), features)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that are open somewhere; all of them if none is."""
        kept = distinct(gates)
        return kept if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks


def drawn_patches(x: Floats, width: int, count: int, rng: np.random.Generator) -> Floats:
    """Return up to `count` of the data's patches, centred and of unit length, without flat ones.

    Every other one is turned round: a gate and its opposite are open on different patches.
    """
    # flat patches are left out, and most patches of an image may be
    place = rng.choice(len(x), size=min(len(x), 8 * count), replace=False)
    found = centred(x[place].astype(np.float64), width)[:count]
    found[1::2] *= -1
    return found


def places_of(patches: Patches) -> list[NDArray[np.int64]]:
    """Return the places (K_a,) of every cell."""
    return [np.flatnonzero(patches.cell == cell) for cell in range(patches.n_cells)]


def winners(generators: Floats, x: Floats, patches: Patches) -> Masks:
    """Return the (p, n K) masks of the winners that generators (p, d) have in patches (n K, d)."""
    p, n = len(generators), len(x) // patches.count
    masks = np.zeros((p, n, patches.count), dtype=np.bool_)
    step = max(1, _CELLS // max(1, patches.count * p))
    for start in range(0, n, step):
        rows = x[start * patches.count : (start + step) * patches.count].astype(np.float64)
        values = (generators @ rows.T).reshape(p, len(rows) // patches.count, patches.count)
        slack = ROUNDING * (np.abs(generators) @ np.abs(rows).T).reshape(values.shape)
        for cell in places_of(patches):
            inside, error = values[:, :, cell], slack[:, :, cell].max(axis=2)
            top = inside.max(axis=2)
            first = cell[(inside >= (top - error)[:, :, None]).argmax(axis=2)]
            gate, sample = np.nonzero(top >= -error)
            masks[gate, start + sample, first[gate, sample]] = True
    return masks.reshape(p, len(x))


def winning_rows(x: Floats, mask: NDArray[np.bool_], patches: Patches) -> Floats:
    """Return (n K, d), rows that are not negative on the filters with these winners.

    Of a cell with winner w they are x_w and x_w - x_l for the others; of one without, all -x_l.
    """
    rows = -x.astype(np.float64).reshape(-1, patches.count, x.shape[1])
    given, inside = x.reshape(rows.shape), mask.reshape(-1, patches.count)
    for cell in places_of(patches):
        sample, place = np.nonzero(inside[:, cell])
        best = given[sample, cell[place]]
        rows[sample[:, None], cell] += best[:, None, :]
        rows[sample, cell[place]] = best
    return rows.reshape(x.shape)
