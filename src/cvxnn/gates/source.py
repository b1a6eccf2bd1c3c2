"""Where an architecture's gates come from: given vectors, Gaussian ones, or every pattern."""

from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np

from cvxnn.arrays import Array
from cvxnn.gates.base import Gates, Masks, distinct
from cvxnn.gates.enumerate import enumerate_patterns
from cvxnn.gates.sample import gaussian
from cvxnn.gates.search import Search
from cvxnn.gates.trained import from_generators


class Source(Protocol):
    """The gates of a kind of neuron; features are (n, d), and d counts the bias."""

    @property
    def searches(self) -> bool:
        """Whether it finds the patterns that a dual point asks for."""

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""

    def given(self, features: Array, generators: Array) -> Gates:
        """Return one gate per row of `generators` (p, d), all kept, in order."""

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the useful ones of `count` random gates."""

    def every(self, features: Array) -> Gates:
        """Return a gate for every pattern that a bound over all networks needs."""

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return those of different patterns that do something on the features."""

    def canonical(self, masks: Masks) -> Masks:
        """Return masks (p, n) that are equal where two patterns are as good as one."""


class Searching(Source, Protocol):
    """A source that `searches`: networks are trained over all of its patterns by widening."""

    def search(self, features: Array) -> Search:
        """Return the search on some features."""


def searching(source: Source) -> TypeGuard[Searching]:
    """Tell whether a source finds the patterns that a dual point asks for."""
    return source.searches


@dataclass(frozen=True)
class HalfSpaces:
    """The gates of neurons that are continuous: cells of open sets of u suffice [Pilanci2020].

    >>> len(HalfSpaces().every(np.array([[1.0], [-1.0]])))
    2
    """

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width,)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return the gates of these generators."""
        return from_generators(features, generators)

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return the distinct ones of `count` Gaussian gates."""
        return gaussian(features, count, rng)

    def every(self, features: Array) -> Gates:
        """Return the cells of the arrangement that are open on some sample."""
        return self.useful(enumerate_patterns(features), features)

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return the distinct gates that are open somewhere; all of them if none is."""
        kept = distinct(gates)
        return kept if len(kept) else gates

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks


@dataclass(frozen=True)
class NoGates:
    """The gates of neurons without patterns: none, whatever is asked for.

    >>> len(NoGates().every(np.array([[1.0], [-1.0]])))
    0
    """

    searches = False

    def shape(self, width: int) -> tuple[int, ...]:
        """Return the shape of a generator for features of `width` columns."""
        return (width,)

    def given(self, features: Array, generators: Array) -> Gates:
        """Return no gates."""
        return self.every(features)

    def draw(self, features: Array, count: int, rng: np.random.Generator) -> Gates:
        """Return no gates."""
        return self.every(features)

    def every(self, features: Array) -> Gates:
        """Return no gates: the bound over all networks needs none."""
        n, d = features.shape
        return Gates(np.zeros((0, d)), np.zeros((0, n), dtype=np.bool_))

    def useful(self, gates: Gates, features: Array) -> Gates:
        """Return no gates."""
        return self.every(features)

    def canonical(self, masks: Masks) -> Masks:
        """Return the masks themselves."""
        return masks
