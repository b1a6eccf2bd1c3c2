"""Convex heads on frozen features: fitted to a certificate, and put onto a torch module."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cvxnn import memory
from cvxnn.architectures import Architecture, Attention, by_rows, shaped
from cvxnn.errors import UnsupportedError
from cvxnn.estimators import ConvexClassifier
from cvxnn.estimators_cv import ConvexClassifierCV
from cvxnn.export import to_torch
from cvxnn.heads.backbones import Batches, features_of, tokens_of
from cvxnn.heads.folding import FOLDS, scaler_of
from cvxnn.heads.tokens import TokenScaler, seen_by, streamed_tokens, token_scaler
from cvxnn.tokens import as_sequences, stacked
from cvxnn.training import architecture_of

Floats = NDArray[np.float64]

_FLOATS = [np.float64, np.float32]
_STRENGTHS = 7
_RATIO, _CUBIC = 1e-5, 1e-3
"""The least strength over the largest: penalties on features of networks are weak, and less so on
attention, whose outputs are cubic."""


class ConvexHead(ClassifierMixin, BaseEstimator):
    """A two-layer classifier on the features of a frozen network, trained to a certified optimum.

    Features are standardised on the training samples; a deviation below `floor` times the median
    one counts as that much, so that channels which are nearly dead stay so. The scaler is folded
    into the network, which takes raw features.

    Attention takes tokens (n, s, d), or feature maps (n, d, h, w) of a backbone without pooling.
    They are standardised, projected onto few directions if asked for, and brought to a root mean
    square length of one. Tokens of zeros are no tokens.

    Parameters
    ----------
    architecture : str or Architecture, default="gated_ridge"
        "gated_ridge", "gated", "relu", "attention", which is "linear_attention", or
        "gated_attention", or an object such as `ReLU(bias=True)`.
    alpha : float or "auto", default="auto"
        Strength of weight decay, > 0. "auto" takes the best of a path by accuracy on held-out
        samples, and trains on all samples there.
    loss : str or SampleLoss, default="auto"
        As in `ConvexClassifier`; "auto" is "squared" for "gated_ridge", whose training is then one
        linear system a strength, and "logistic" else.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes.
    n_gates : int, default=1024
        Gaussian gates of gated heads; ReLU heads grow. A gate of attention costs as much as linear
        attention times the number of tokens: begin with a few.
    gates : str or array, default="auto"
        As in `ConvexClassifier`; generators are those of standardised features.
    validation : float, default=0.2
        Share of the samples that alpha="auto" holds out.
    floor : float, default=0.1
        At least 0: see above.
    projection : int or None, default=None
        k, the directions of tokens that attention sees, the leading ones after scaling, or all. A
        point holds about k^3 numbers for every class.
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
    basis_ : array (d, k) or None
        The directions of tokens that attention sees, divided by the length of the tokens there.
    shape_ : tuple (s, d) or None
        Of the tokens of a sample.
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

    network_: Any
    basis_: Any
    shape_: Any

    _held = ("classifier_", "mean_", "scale_", "basis_", "shape_")

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
        projection: int | None = None,
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
        self.projection = projection
        self.tol = tol
        self.max_time = max_time
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexHead":
        """Train on features `X` (n, d), or tokens, and class labels `y` (n,); return self."""
        floor = self._check_floor()
        X, y = validate_data(self, self._rows(X, reset=True), y, dtype=_FLOATS)
        if self.shape_ is None:
            self.mean_, self.scale_ = scaler_of(X, floor)
        else:
            scaler = token_scaler(X.reshape(-1, *self.shape_), floor, self.projection)
            self.mean_, self.scale_, self.basis_ = scaler
        return self._train(X, y, sample_weight)

    def fit_stream(self, backbone: Any, loader: Any, device: Any = None) -> "ConvexHead":
        """Train on what a frozen torch module makes of the batches (inputs, labels) of a loader.

        `backbone` is in evaluation mode and gives (batch, d), or (batch, d, 1, 1); for attention
        tokens (batch, s, d), or feature maps (batch, d, h, w). No gradients are kept; the features,
        in float32, are all that is held. Of tokens it is what attention sees of them: the projected
        ones or, where those are fewer numbers, a query and a triangle for every sequence. Their
        scaler is that of the first 2,048 sequences, so let the loader draw them at random.
        """
        architecture = architecture_of(self.architecture)
        if not isinstance(architecture, Attention):
            return self.fit(*features_of(backbone, loader, device))
        batches, floor = Batches(backbone, loader, device), self._check_floor()
        found = streamed_tokens(
            architecture, batches, self.n_gates, floor=floor, projection=self.projection
        )
        self.mean_, self.scale_, self.basis_ = found.scaler
        self.shape_, self.n_features_in_ = found.shape, math.prod(found.shape)
        self.classifier_ = self._classifier(found.architecture).fit(found.rows, found.labels)
        self._adopt()
        return self

    def refit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexHead":
        """Train anew on features (n, d) with the scaler, the gates and the strength there are.

        The objective is then the same function of the network as in the fit before.
        """
        check_is_fitted(self)
        X, y = validate_data(self, self._rows(X), y, dtype=_FLOATS, reset=False)
        again = ConvexHead(**self.get_params(deep=False))
        again.n_features_in_ = self.n_features_in_
        again.alpha = self.alpha_
        kept = self.classifier_.generators_
        if self.classifier_.proof_ is None and kept.size:  # grown networks have no gates to keep
            again.gates = kept
        for name in ("mean_", "scale_", "basis_", "shape_"):
            setattr(again, name, getattr(self, name))
        again._train(X, y, sample_weight)
        again.alpha, again.gates = self.alpha, self.gates
        return again

    def _check_floor(self) -> float:
        if not self.floor >= 0:
            raise ValueError(f"floor is {self.floor}; it must be at least 0")
        return float(self.floor)

    def _rows(self, X: Any, reset: bool = False) -> Any:
        """Return tokens or feature maps as rows of a table, and features as they are."""
        architecture = architecture_of(self.architecture)
        if reset:
            self.basis_, self.shape_ = None, None
        if not isinstance(architecture, Attention):
            return X
        found = tokens_of(X) if getattr(X, "ndim", 0) == 4 else stacked(X)
        if reset:
            self.shape_ = shaped(architecture, found).tokens.shape
        return as_sequences(found, self.shape_)

    def _train(self, X: Any, y: Any, sample_weight: Any) -> "ConvexHead":
        """Train on raw features (n, d), or sequences as rows, by the scaler that there is."""
        architecture: Any = architecture_of(self.architecture)
        if self.basis_ is None and architecture.name not in FOLDS:
            raise UnsupportedError(
                f"a scaler cannot be folded into {architecture.name} networks; pass one of "
                f"{', '.join(FOLDS)}"
            )
        memory.require(2 * X.size * X.dtype.itemsize)
        if self.basis_ is None:
            seen = ((X - self.mean_) / self.scale_).astype(X.dtype)
        else:
            seen = self._scaler(X.reshape(-1, *self.shape_)).reshape(len(X), -1)
            architecture = seen_by(architecture, self._scaler, self.shape_, sums=False)
        self.classifier_ = self._classifier(architecture).fit(seen, y, sample_weight)
        self._adopt()
        return self

    @property
    def _scaler(self) -> TokenScaler:
        return TokenScaler(self.mean_, self.scale_, self.basis_)

    def _adopt(self) -> None:
        """Take over what the classifier of standardised features has, the scaler folded in."""
        inner = self.classifier_
        if self.basis_ is None:
            fold = FOLDS[inner.architecture_.name]
            self.network_ = fold(inner.network_, self.mean_, self.scale_)
        else:
            architecture: Any = architecture_of(self.architecture)
            self.network_ = self._scaler.folded(inner.network_, architecture, self.shape_)
        self.certificate_, self.alpha_ = inner.certificate_, inner.alpha_
        self.classes_ = inner.classes_

    def _settle(self, features: Any) -> None:
        """Take over what a file held; ValueError unless it belongs together."""
        inner: Any = self.classifier_
        architecture: Any = architecture_of(self.architecture)
        known = (*FOLDS, "linear_attention", "gated_attention")
        if not isinstance(inner, ConvexClassifier) or inner.architecture_.name not in known:
            raise ValueError(f"it holds no classifier of {', '.join(known)} networks")
        if isinstance(architecture, Attention):
            self._scaler.settle(self.shape_, features)
            kinds = [seen_by(architecture, self._scaler, self.shape_, sums=x) for x in (0, 1)]
        else:
            kinds = [architecture]
            shapes = {np.shape(self.mean_), np.shape(self.scale_)}
            if shapes != {(inner.n_features_in_,)} or features != inner.n_features_in_:
                raise ValueError(
                    f"its scaler has shapes {sorted(shapes)} and there are {features} features, "
                    f"where its classifier has {inner.n_features_in_}"
                )
        if inner.architecture_ not in kinds:
            raise ValueError("its classifier is not one of its architecture")
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
        ratio = _CUBIC if isinstance(architecture, Attention) else _RATIO
        return ConvexClassifierCV(architecture, alphas=_STRENGTHS, ratio=ratio, cv=split, **words)

    def decision_function(self, X: Any) -> Any:
        """Return the scores of features (n, d), or tokens: (n,) for two classes, else (n, k)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> Any:
        """Return the class labels of features (n, d), or tokens."""
        outputs = self._outputs(X)
        single = outputs.shape[1] == 1
        chosen = (outputs[:, 0] > 0).astype(int) if single else outputs.argmax(axis=1)
        return self.classes_[chosen]

    def _outputs(self, X: Any) -> Floats:
        check_is_fitted(self)
        X = validate_data(self, self._rows(X), dtype=_FLOATS, reset=False)
        return np.asarray(
            by_rows(lambda x: self.network_(x.astype(np.float64)), X, self.network_.n_neurons)
        )

    def to_torch(self) -> Any:
        """Return the head as a torch module of raw features, (n, d) or (n, d, 1, 1) to (n, c).

        That of attention is one of tokens (n, s, d) or feature maps (n, d, h, w).

        It computes in float64, where gates switch as in training, and answers in the dtype that it
        is given; c is 1 for two classes, the score of `classes_[1]`.
        """
        check_is_fitted(self)
        return _module(to_torch(self.network_), self.shape_)

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
        width = len(self.mean_)
        if old and old[0].in_features != width:
            raise ValueError(
                f"{name} takes {old[0].in_features} features and the head {width}; "
                "fit it on what the model feeds into that place"
            )
        above, _, last = name.rpartition(".")
        setattr(model.get_submodule(above), last, head)
        return model


def _module(inner: Any, shape: tuple[int, int] | None) -> Any:
    import torch

    class Head(torch.nn.Module):
        """Raw features to scores, in float64 inside."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, X: Any) -> Any:
            rows = X if shape is None or X.ndim == 2 else tokens_of(X)
            return self.inner(rows.flatten(1).double()).to(X.dtype)

    return Head().eval()
