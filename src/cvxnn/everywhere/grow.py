"""Growing a network: descend, keep what is needed, price, add, and again."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvxnn.everywhere.descend import CAREFUL, LIGHT, Course, newton
from cvxnn.everywhere.duals import dual_value
from cvxnn.everywhere.merge import fuse, merge
from cvxnn.everywhere.neurons import MOST_CURVED, Floats, Neurons, Training
from cvxnn.everywhere.polish import affordable, polish, refine
from cvxnn.everywhere.price import Priced, best_of, price
from cvxnn.everywhere.reweigh import resize, reweigh
from cvxnn.everywhere.slide import slide
from cvxnn.linalg import descend_smooth
from cvxnn.program import Iterate

_ALIKE = 0.95
"""Cosine above which a candidate is too close to one that is added already."""
_FEW = 30.0
"""Ratio of alpha_max to alpha below which few neurons are needed and sliding is quicker."""
_PATIENCE, _HASTE = (20, 0.1), (3, 0.4)
"""Rounds on sharp kinks without a gain of that share of `tol`, after which growth gives up; and
where it is not `exact`."""
_SMALL, _TRIMS = 0.5, 3
"""Size of a neuron of several outputs, in units of `tol` times the largest, that may be done
without, and how often fewer are tried in the end."""
_CAUTION, _FADE = 1e-2, 0.3
"""How strongly sizes are held near their last values while the network still turns: at most, and as
a multiple of the kink width."""
_TURNING = 1.1
"""Largest price, in units of alpha, above which neurons of several outputs still turn much."""
_CLOSE = 1.5
"""Largest price, in units of alpha, below which more starts are needed to find what is lacking."""
_WIDE, _EACH = 1e7, 32
"""Starts times entries of X, and starts for each neuron, of the search before growth is done."""
_CELLS, _LARGE = 120, 200_000
"""Cells times features climbed from in it, and entries of X that forbid that."""
_STEPS = 40
"""Newton steps on sharp kinks times neurons: a few neurons are taken to the end."""
_FEWEST = 10
"""Neurons up to which a last descent to the end of precision is worth its time."""
_LEAN = 1e-6
"""Relative rise of the objective at which fewer neurons are preferred."""
_LITTLE = 3000
"""Entries of X up to which double precision costs nothing."""


class State(NamedTuple):
    """Where the growth is."""

    neurons: Neurons
    """With the candidates of the last round among them."""
    best: Neurons
    objective: float
    """Of `best`."""
    eps: float
    """Width of the smoothed kinks; 0 while the network slides on the kinks as they are."""
    course: Course
    worst: float
    """The largest price found, in units of alpha."""
    rounds: int
    mark: tuple[int, float]
    """The round and the objective of the last gain worth the name."""
    done: bool


class Effort(NamedTuple):
    """How widely to price: options of `price`."""

    starts: int
    steps: int
    generations: int = 0


@dataclass(frozen=True)
class Grow:
    """Column generation over all neurons, with local descent on all of them at once.

    A round is: a Newton step or two at the present kink width (L-BFGS for several outputs), sizes
    by a nonnegative lasso, a merge of neurons with equal pattern, pricing, and new neurons at a
    small size. Kinks sharpen as prices fall. It is done when kinks are sharp and neither pricing
    nor a wider search finds a neuron whose price exceeds (1 + tol) alpha (unless `exact`, a price
    that leaves a gap of more than tol), or when many rounds gained nothing to speak of: the best
    that was found, which a bound must still prove.
    """

    tol: float = 1e-3
    """Relative excess of a price over alpha that is forgiven."""
    width: int = 100
    """Neurons of the first round."""
    add: int = 60
    """Neurons added in a round, at most."""
    starts: int = 128
    sharp: float = 1e-4
    """Kink width, relative to a neuron's typical product, at which a network counts as exact."""
    exact: bool = True
    """Whether to search widely before growth is done and polish small networks to the last digits;
    without it a path is several times quicker."""
    seed: int = 0

    name = "grow"
    period = 1
    copies = (4, 2)
    heuristic = True

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return 0: `memory.of_growth` counts what growth holds."""
        return 0

    def why_not(self, training: Training) -> str | None:
        """Return None for smooth losses."""
        if np.isfinite(training.loss.smoothness):
            return None
        return (
            f"gates='grow' needs a loss with a gradient and {training.loss.loss.name!r} has kinks; "
            "use gates='sample' or 'enumerate', or another loss"
        )

    def init(self, training: Training, start: Iterate | None) -> State:
        """Return many neurons that the null model prices highest, or those of a start."""
        rng, neurons = np.random.default_rng(self.seed), null_neurons(training)
        found = price(
            training.features,
            training.pulls(training.dual(neurons)),
            rng,
            starts=self.width,
            steps=5,
        )
        eps = 0.0 if _excess(training, found) < _FEW else 0.1
        if training.outputs > 1:  # no kink is smoothed for several outputs
            eps = self.sharp
        if start is None or not start.blocks.shape[0]:
            neurons = self._wide(training, neurons, found, rng)
        else:
            neurons, eps = unpack(training, start), min(eps, 0.02)
        best = reweigh(training, neurons)
        value = training.objective(best)
        return State(neurons, best, value, eps, Course(), np.inf, 0, (0, value), False)

    def step(self, training: Training, state: State) -> State:
        """Return the state after a round."""
        rng = np.random.default_rng([self.seed, state.rounds])
        exact = 0 < state.eps <= self.sharp
        neurons = fuse(state.neurons) if exact else state.neurons
        neurons, course = self._descend(training, neurons, state)
        caution = self._caution(training, state)
        neurons = merge(training, reweigh(training, neurons, caution))
        if neurons.outputs.shape[1] > 1:  # a group lasso that is not taken to its end leaves many
            neurons = self._large(neurons)
        objective, best = training.objective(neurons), state.best
        leaner = len(neurons.weights) < len(best.weights)
        if objective < state.objective * (1 + _LEAN * leaner):
            best = neurons
        eager = state.eps > 0 and state.worst < _CLOSE
        effort = self._eager(training, neurons) if eager else Effort(self.starts, 25)
        found = self._price(training, neurons, rng, effort)
        worst = _excess(training, found)
        small = self.exact and affordable(training, best)
        if exact and small:
            best = neurons = polish(training, best, found, 1e-7)
            objective = training.objective(best)
            found = self._price(training, neurons, rng, self._eager(training, neurons))
            worst = _excess(training, found)
        elif exact and self.exact and worst < 1 + self.tol:
            found = self._search(training, neurons, rng)
            worst = _excess(training, found)
        mark, (patience, share) = state.mark, _PATIENCE if self.exact else _HASTE
        if not exact or objective < mark[1] - share * self.tol * abs(mark[1]):
            mark = (state.rounds, min(objective, mark[1]))
        enough = exact and self._enough(training, neurons, worst)
        done = enough or (exact and state.rounds - mark[0] >= patience)
        if done and self.exact and best is neurons and len(best.weights) <= _FEWEST:
            best = neurons = self._finish(training, best)
            objective = training.objective(best)
        elif done and not small and best.outputs.shape[1] > 1:
            best = neurons = self._trimmed(training, best)
            objective = training.objective(best)
        settled = state.objective - objective < 4e-3 * abs(objective) and worst < 1.05
        eps = self._sharpen(state.eps, worst, settled)
        more = enlarge(training, neurons, found, self.add, self._worth(neurons))
        return State(
            neurons if done else more,
            best,
            objective if best is neurons else state.objective,
            max(self.sharp, min(eps, 0.3 * state.eps)) if small and state.eps else eps,
            course,
            worst,
            state.rounds + 1,
            mark,
            done,
        )

    def read(self, training: Training, state: State) -> Iterate:
        """Return the best network so far."""
        return pack(training, state.best)

    def done(self, state: State) -> bool:
        """Tell whether no neuron was found that lowers the objective."""
        return state.done

    def _enough(self, training: Training, neurons: Neurons, worst: float) -> bool:
        """Tell whether no price matters: unless `exact`, whether such prices leave a gap of tol."""
        if self.exact or worst < 1 + self.tol:
            return worst < 1 + self.tol
        objective = training.objective(neurons)
        lower = dual_value(training, training.dual(neurons) / worst)
        return objective - lower <= self.tol * objective

    def _caution(self, training: Training, state: State) -> float:
        """Return how strongly sizes are held: not at all on sharp kinks, when little is lacking."""
        several = training.outputs > 1
        if 0 < state.eps <= self.sharp and not (several and state.worst > _TURNING):
            return 0.0
        return min(_CAUTION, _FADE * state.eps) if state.eps else _CAUTION

    def _worth(self, neurons: Neurons) -> float:
        """Return the excess worth a neuron: a smaller one where neurons are few."""
        return self.tol * min(max(len(neurons.weights) / 100, 0.2), 1.0)

    def _sharpen(self, eps: float, worst: float, settled: bool) -> float:
        if eps == 0:
            return 2e-3 if settled else 0.0
        if worst < 1 + self.tol:
            factor = 0.1
        else:
            slow, quick = (0.92, 0.85) if self.exact else (0.85, 0.75)
            factor = 0.6 if worst < 1.05 else quick if worst < 1.3 else slow
        return max(self.sharp, eps * factor)

    def _descend(
        self, training: Training, neurons: Neurons, state: State
    ) -> tuple[Neurons, Course]:
        if not len(neurons.weights):
            return neurons, state.course
        several, (k, d) = neurons.outputs.shape[1] > 1, neurons.weights.shape
        if several or state.eps == 0 or k * d * d > MOST_CURVED:
            return slide(training, neurons, 60), state.course
        sharp = state.eps <= self.sharp
        steps = 1 if state.worst > 1.1 else max(2, min(_STEPS // k, 8)) if sharp else 2
        rtol = (1e-4 if sharp else 1e-2) * self.tol
        care = CAREFUL if self.exact else LIGHT
        course = state.course._replace(ridge=min(state.course.ridge, 1.0))
        return newton(training, neurons, state.eps, steps, course, rtol, care)

    def _finish(self, training: Training, neurons: Neurons) -> Neurons:
        """Return the neurons after a descent on sharper kinks still, where it gains."""
        if neurons.outputs.shape[1] > 1 or not len(neurons.weights):
            return neurons
        moved = neurons
        for eps in (0.1 * self.sharp, 0.01 * self.sharp):
            moved, _ = newton(training, moved, eps, 8, Course(), 1e-9)
        moved = merge(training, reweigh(training, moved))
        return min(neurons, moved, key=training.objective)

    def _large(self, neurons: Neurons) -> Neurons:
        sizes = neurons.sizes
        return neurons.keep(sizes > _SMALL * self.tol * sizes.max(initial=0.0))

    def _trimmed(self, training: Training, neurons: Neurons) -> Neurons:
        """Return fewer neurons for an objective that is hardly larger, of several outputs."""
        most = training.objective(neurons) * (1 + 0.1 * self.tol)
        for _ in range(_TRIMS):
            fewer = slide(training, fuse(neurons), 60)
            fewer = self._large(merge(training, reweigh(training, fewer)))
            if training.objective(fewer) > most:
                break
            neurons = fewer
        return neurons

    def _wide(
        self, training: Training, none: Neurons, found: Priced, rng: np.random.Generator
    ) -> Neurons:
        order = rng.permutation(len(found.values))[: self.width]
        alive = order[found.values[order] > 0]
        if not len(alive):
            return none
        start = Neurons(found.directions[alive], found.outputs[alive], none.free)
        best = resize(training, start, np.zeros(len(alive)))
        floor = 0.3 * float(best.sizes.mean()) or 1e-3
        return _at_least(best, start.weights, np.full(len(alive), floor))

    def _price(
        self, training: Training, neurons: Neurons, rng: np.random.Generator, effort: Effort
    ) -> Priced:
        features = training.features if _little(training) else training.single
        return price(
            features,
            training.pulls(training.dual(neurons)).astype(features.dtype),
            rng,
            **effort._asdict(),
            own=neurons.weights / neurons.sizes[:, None],
            whitening=training.whitening,
        )

    def _eager(self, training: Training, neurons: Neurons) -> Effort:
        """Return what it takes to find what a network lacks: the more neurons, the more."""
        if _little(training):
            return Effort(4 * self.starts, 40)
        return Effort(self.starts * min(max(len(neurons.weights) // 16, 2), 8), 40, 1)

    def _search(self, training: Training, neurons: Neurons, rng: np.random.Generator) -> Priced:
        """Price again, widely, and climb from the best of what is found."""
        found = self._price(training, neurons, rng, self._eager(training, neurons))
        if _excess(training, found) >= 1 + self.tol:
            return found
        starts = min(int(_WIDE / training.features.size), _EACH * len(neurons.weights))
        wide = Effort(max(starts, self.starts), 50)
        found = best_of([found, self._price(training, neurons, rng, wide)])
        if _excess(training, found) >= 1 + self.tol or training.features.size > _LARGE:
            return found
        cells = min(max(_CELLS // training.features.shape[1], 2), 12)
        return refine(training, training.pulls(training.dual(neurons)), found, cells)


def pack(training: Training, neurons: Neurons) -> Iterate:
    """Return the neurons as an iterate, (k, d + c) rows of weights and outputs."""
    rows = np.concatenate([training.outward(neurons.weights), neurons.outputs], axis=1)
    return Iterate(rows, neurons.free, training.dual(neurons))


def unpack(training: Training, iterate: Iterate) -> Neurons:
    """Return the neurons of an iterate."""
    d = training.features.shape[1] if training.turn is None else len(training.turn)
    weights = training.inward(iterate.blocks[:, :d])
    return Neurons(weights, iterate.blocks[:, d:], iterate.free)


def _little(training: Training) -> bool:
    return bool(training.features.size <= _LITTLE)


def _excess(training: Training, found: Priced) -> float:
    return float(found.values[0]) / training.alpha


def null_neurons(training: Training) -> Neurons:
    """Return no neurons, with the best free coefficients."""
    c, q = training.loss.target.shape[1], training.columns.shape[1]
    empty = np.zeros((0, training.features.shape[1])), np.zeros((0, training.outputs))
    none = Neurons(*empty, np.zeros((q, c)))
    if none.free.size == 0:
        return none

    def value(z: Floats) -> tuple[float, Floats]:
        fit = training.columns @ z.reshape(q, c)
        pull = training.columns.T @ training.loss.gradient(fit)
        return training.loss.value(fit), pull.ravel()

    return none._replace(free=descend_smooth(value, np.zeros(q * c), 200).reshape(q, c))


def enlarge(
    training: Training, neurons: Neurons, found: Priced, limit: int, worth: float = 1e-3
) -> Neurons:
    """Add the most wanted candidates that are not alike, each at no less than a small size.

    Their prices exceed alpha by a share of more than `worth`.
    """
    chosen: list[int] = []
    for j in range(len(found.values)):
        if found.values[j] <= training.alpha * (1 + worth) or len(chosen) >= limit:
            break
        near = found.directions[chosen] @ found.directions[j] > _ALIKE
        if not (near & (found.outputs[chosen] @ found.outputs[j] > _ALIKE)).any():
            chosen.append(j)
    if not chosen:
        return neurons
    sizes = neurons.sizes
    directions = np.concatenate([neurons.weights / sizes[:, None], found.directions[chosen]])
    outputs = np.concatenate([neurons.outputs, found.outputs[chosen]])
    trial = Neurons(directions.astype(np.float64), outputs.astype(np.float64), neurons.free)
    best = resize(training, trial, np.concatenate([sizes, np.zeros(len(chosen))]), _CAUTION)
    new = 1e-3 * (float(best.sizes.max(initial=0.0)) or 1.0)
    floor = np.concatenate([0.1 * sizes, np.full(len(chosen), new)])
    return _at_least(best, trial.weights, floor)


def _at_least(neurons: Neurons, directions: Floats, floor: Floats) -> Neurons:
    """Return the neurons in their unit `directions`, at no less than these sizes."""
    lengths = np.linalg.norm(directions, axis=1)
    grown = np.maximum(neurons.sizes, floor) / lengths
    return neurons._replace(weights=directions * grown[:, None])
