"""Convex heads on frozen features: fitted to a certificate, and put onto a torch module."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cvxnn import memory
from cvxnn.architectures import Architecture, by_rows
from cvxnn.errors import UnsupportedError
from cvxnn.estimators import ConvexClassifier
from cvxnn.estimators_cv import ConvexClassifierCV
from cvxnn.export import to_torch
from cvxnn.training import architecture_of

Floats = NDArray[np.float64]

_STRENGTHS = 7
_RATIO = 1e-5
"""The least strength over the largest: penalties on features of networks are weak."""


class ConvexHead(ClassifierMixin, BaseEstimator):
    """A two-layer classifier on the features of a frozen network, trained to a certified optimum.

    Features are standardised on the training samples; a deviation below `floor` times the median
    one counts as that much, so that channels which are nearly dead stay so. The scaler is folded
    into the network, which takes raw features.

    Parameters
    ----------
    architecture : str or Architecture, default="gated_ridge"
        "gated_ridge", "gated" or "relu", or an object such as `ReLU(bias=True)`.
    alpha : float or "auto", default="auto"
        Strength of weight decay, > 0. "auto" takes the best of a path by accuracy on held-out
        samples, and trains on all samples there.
    loss : str or SampleLoss, default="auto"
        As in `ConvexClassifier`; "auto" is "squared" for "gated_ridge", whose training is then one
        linear system a strength, and "logistic" else.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes.
    n_gates : int, default=1024
        Gaussian gates of gated heads; ReLU heads grow.
    gates : str or array, default="auto"
        As in `ConvexClassifier`; generators are those of standardised features.
    validation : float, default=0.2
        Share of the samples that alpha="auto" holds out.
    floor : float, default=0.1
        At least 0: see above.
    tol : float, default=1e-4
        Relative duality gap at which to stop.
    max_time : float or None, default=None
        Seconds for the fit.
    random_state : int, RandomState or None, default=None
        Seed of gates and of the held-out samples.

    Attributes
    ----------
    network_ : Network
        Callable on raw features (n, d).
    certificate_ : Certificate
        Bounds on the objective of the network on standardised features.
    classifier_ : ConvexClassifier
        The classifier of standardised features, with all that it holds.
    mean_, scale_ : array (d,)
        What is taken off, and what is divided by.
    alpha_, classes_, n_features_in_
        As in `ConvexClassifier`.

    Raises
    ------
    ValueError
        As `ConvexClassifier`, and for a floor that is negative or a backbone in training mode.
    UnsupportedError
        For architectures that a scaler cannot be folded into.
    MemoryBudgetError
        When features or fit would not fit into memory.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 4)) * [1.0, 10.0, 1e-6, 1.0] + 5.0
    >>> y = (X[:, 0] > 5.0) ^ (X[:, 1] > 5.0)
    >>> head = ConvexHead(n_gates=50, alpha=1e-3, random_state=0).fit(X, y)
    >>> bool(head.score(X, y) > 0.9), head.certificate_.proves(1e-4)
    (True, True)
    """

    _held = ("classifier_", "mean_", "scale_")

    def __init__(
        self,
        architecture: str | Architecture = "gated_ridge",
        *,
        alpha: float | str = "auto",
        loss: Any = "auto",
        class_weight: Any = None,
        n_gates: int = 1024,
        gates: Any = "auto",
        validation: float = 0.2,
        floor: float = 0.1,
        tol: float = 1e-4,
        max_time: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.architecture = architecture
        self.alpha = alpha
        self.loss = loss
        self.class_weight = class_weight
        self.n_gates = n_gates
        self.gates = gates
        self.validation = validation
        self.floor = floor
        self.tol = tol
        self.max_time = max_time
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexHead":
        """Train on features `X` (n, d) and class labels `y` (n,); return self."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        if not self.floor >= 0:
            raise ValueError(f"floor is {self.floor}; it must be at least 0")
        return self._train(X, y, sample_weight, *_scaler(X, float(self.floor)))

    def fit_stream(self, backbone: Any, loader: Any, device: Any = None) -> "ConvexHead":
        """Train on what a frozen torch module makes of the batches (inputs, labels) of a loader.

        `backbone` is in evaluation mode and gives (batch, d), or (batch, d, 1, 1). No gradients are
        kept; the features, in float32, are all that is held.
        """
        return self.fit(*features_of(backbone, loader, device))

    def refit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexHead":
        """Train anew on features (n, d) with the scaler, the gates and the strength there are.

        The objective is then the same function of the network as in the fit before.
        """
        check_is_fitted(self)
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], reset=False)
        again = ConvexHead(**self.get_params(deep=False))
        again.n_features_in_ = self.n_features_in_
        again.alpha = self.alpha_
        if self.classifier_.proof_ is None:  # grown networks have no gates to keep
            again.gates = self.classifier_.generators_
        again._train(X, y, sample_weight, self.mean_, self.scale_)
        again.alpha, again.gates = self.alpha, self.gates
        return again

    def _train(
        self, X: Any, y: Any, sample_weight: Any, mean: Floats, scale: Floats
    ) -> "ConvexHead":
        architecture = architecture_of(self.architecture)
        if architecture.name not in _FOLDS:
            raise UnsupportedError(
                f"a scaler cannot be folded into {architecture.name} networks; pass one of "
                f"{', '.join(_FOLDS)}"
            )
        memory.require(2 * X.size * X.dtype.itemsize)
        self.mean_, self.scale_ = mean, scale
        seen = ((X - mean) / scale).astype(X.dtype)
        self.classifier_ = self._classifier(architecture).fit(seen, y, sample_weight)
        self._adopt()
        return self

    def _adopt(self) -> None:
        """Take over what the classifier of standardised features has, the scaler folded in."""
        inner = self.classifier_
        self.network_ = _FOLDS[inner.architecture_.name](inner.network_, self.mean_, self.scale_)
        self.certificate_, self.alpha_ = inner.certificate_, inner.alpha_
        self.classes_ = inner.classes_

    def _settle(self, features: Any) -> None:
        """Take over what a file held; ValueError unless it belongs together."""
        inner: Any = self.classifier_
        shapes = {np.shape(self.mean_), np.shape(self.scale_)}
        if not isinstance(inner, ConvexClassifier) or inner.architecture_.name not in _FOLDS:
            raise ValueError(f"it holds no classifier of {', '.join(_FOLDS)} networks")
        if inner.architecture_ != architecture_of(self.architecture):
            raise ValueError("its classifier is not one of its architecture")
        if shapes != {(inner.n_features_in_,)} or features != inner.n_features_in_:
            raise ValueError(
                f"its scaler has shapes {sorted(shapes)} and there are {features} features, where "
                f"its classifier has {inner.n_features_in_}"
            )
        if not (self.scale_ > 0).all():
            raise ValueError("its scaler has a scale that is not positive")
        if isinstance(self.alpha, float) and self.alpha != inner.alpha_:
            raise ValueError(f"its alpha is {self.alpha} and its classifier's {inner.alpha_}")
        self._adopt()

    def _classifier(self, architecture: Architecture) -> ConvexClassifier:
        loss = self.loss
        if isinstance(loss, str) and loss == "auto":
            loss = "squared" if architecture.name == "gated_ridge" else "logistic"
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        words: dict[str, Any] = {
            "loss": loss,
            "class_weight": self.class_weight,
            "gates": self.gates,
            "n_gates": self.n_gates,
            "tol": self.tol,
            "max_time": self.max_time,
            "random_state": seed,
        }
        if not isinstance(self.alpha, str):
            return ConvexClassifier(architecture, alpha=self.alpha, **words)
        if self.alpha != "auto":
            raise ValueError(f"alpha is {self.alpha!r}; expected 'auto' or a positive number")
        split = StratifiedShuffleSplit(1, test_size=self.validation, random_state=seed)
        return ConvexClassifierCV(architecture, alphas=_STRENGTHS, ratio=_RATIO, cv=split, **words)

    def decision_function(self, X: Any) -> Any:
        """Return the scores of features (n, d): (n,) for two classes, else (n, k)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> Any:
        """Return the class labels of features (n, d)."""
        outputs = self._outputs(X)
        single = outputs.shape[1] == 1
        chosen = (outputs[:, 0] > 0).astype(int) if single else outputs.argmax(axis=1)
        return self.classes_[chosen]

    def _outputs(self, X: Any) -> Floats:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.asarray(
            by_rows(lambda x: self.network_(x.astype(np.float64)), X, self.network_.n_neurons)
        )

    def to_torch(self) -> Any:
        """Return the head as a torch module of raw features, (n, d) or (n, d, 1, 1) to (n, c).

        It computes in float64, where gates switch as in training, and answers in the dtype that it
        is given; c is 1 for two classes, the score of `classes_[1]`.
        """
        check_is_fitted(self)
        return _module(to_torch(self.network_))

    def attach(self, model: Any, name: str) -> Any:
        """Put the head in the place of a submodule of a torch module, such as "classifier".

        `name` may have dots. Returns `model`. ValueError where there is no such submodule, or where
        its first layer is a Linear of another width.
        """
        import torch

        head = self.to_torch()
        places = dict(model.named_modules())
        if name not in places or not name:
            some = ", ".join(map(repr, [place for place, _ in model.named_children()]))
            raise ValueError(f"the model has no submodule {name!r}; its own are {some}")
        old = [one for one in places[name].modules() if isinstance(one, torch.nn.Linear)]
        if old and old[0].in_features != self.n_features_in_:
            raise ValueError(
                f"{name} takes {old[0].in_features} features and the head {self.n_features_in_}; "
                "fit it on what the model feeds into that place"
            )
        above, _, last = name.rpartition(".")
        setattr(model.get_submodule(above), last, head)
        return model


def features_of(backbone: Any, loader: Any, device: Any = None) -> tuple[Any, NDArray[Any]]:
    """Return the features (n, d), float32, and labels (n,) that a frozen module makes of batches.

    Raises ValueError for a module in training mode, whose statistics would move from batch to
    batch, for features that are not (batch, d) and for a batch of another width; MemoryBudgetError,
    at the first batch, where the loader says how many there are and they would not fit.
    """
    import torch

    training = [
        name or "the module itself" for name, one in backbone.named_modules() if one.training
    ]
    if training:
        raise ValueError(f"the backbone is in training mode ({training[0]}); call backbone.eval()")
    parts: list[Any] = []
    labels: list[Any] = []
    with torch.no_grad():
        for number, (inputs, y) in enumerate(loader):
            found = backbone(inputs if device is None else inputs.to(device))
            flat = _flat(found)
            if flat is None:
                raise ValueError(
                    f"batch {number} has features of shape {tuple(found.shape)}; expected "
                    "(batch, d): pool or flatten them in the backbone"
                )
            if parts and flat.shape[1] != parts[0].shape[1]:
                raise ValueError(
                    f"batch {number} has {flat.shape[1]} features a sample and the first "
                    f"{parts[0].shape[1]}; bring inputs to one size"
                )
            if not parts and hasattr(loader, "__len__"):
                memory.require(8 * len(loader) * flat.numel())
            parts.append(flat.to("cpu", torch.float32).numpy())
            labels.append(np.asarray(y))
    if not parts:
        raise ValueError("the loader gave no batches; pass one with samples")
    return np.concatenate(parts), np.concatenate(labels)


def _flat(found: Any) -> Any:
    """Return features as (batch, d), None where they are of another form."""
    if found.ndim > 2 and all(side == 1 for side in found.shape[2:]):
        return found.flatten(1)
    return found if found.ndim == 2 else None


def _scaler(X: Any, floor: float) -> tuple[Floats, Floats]:
    """Return mean and scale (d,) of columns."""
    mean, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    scale = np.maximum(deviation, floor * float(np.median(deviation)))
    # a column that is constant up to the rounding of its numbers is left as it is
    alive = scale > 4 * np.finfo(X.dtype).eps * np.abs(mean)
    return mean, np.where(alive & (scale > 0), scale, 1.0)


def _folded(rows: Any, mean: Floats, scale: Floats) -> Floats:
    """Return rows (m, d) or (m, d + 1) on standardised features as rows (m, d + 1) on raw ones."""
    d = len(mean)
    slopes = rows[:, :d] / scale
    shift = rows[:, d] if rows.shape[1] > d else np.zeros(len(rows))
    return np.column_stack([slopes, shift - slopes @ mean])


def _outer(network: Any, mean: Floats, scale: Floats) -> dict[str, Floats]:
    skip = network.skip / scale[:, None]
    return {"skip": skip, "intercept": network.intercept - mean @ skip}


def _plain(network: Any, mean: Floats, scale: Floats) -> Any:
    inner = {"weights_in": _folded(network.weights_in, mean, scale)}
    if hasattr(network, "gates"):
        inner["gates"] = _folded(network.gates, mean, scale)
    return replace(network, **inner, **_outer(network, mean, scale))


def _experts(network: Any, mean: Floats, scale: Floats) -> Any:
    experts = [_folded(each, mean, scale) for each in network.experts]
    inner = {"experts": np.stack(experts), "gates": _folded(network.gates, mean, scale)}
    return replace(network, **inner, **_outer(network, mean, scale))


_FOLDS = {"gated_ridge": _experts, "gated": _plain, "relu": _plain}
"""What folds a scaler into networks."""


def _module(inner: Any) -> Any:
    import torch

    class Head(torch.nn.Module):
        """Raw features to scores, in float64 inside."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, X: Any) -> Any:
            return self.inner(X.flatten(1).double()).to(X.dtype)

    return Head().eval()
