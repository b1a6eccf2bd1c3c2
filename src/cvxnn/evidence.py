"""What a fitted estimator shows to be checked, on data that may be others than its own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn import training
from cvxnn.architectures import Architecture, assemble, free_columns, objective
from cvxnn.arrays import Array
from cvxnn.certificate import Evidence, Scope
from cvxnn.functions import mean_loss
from cvxnn.gates import Gates
from cvxnn.gates.base import pattern_keys
from cvxnn.linalg import threads
from cvxnn.reading import by_blocks
from cvxnn.samples import distinct_samples, fingerprint, positive_weights
from cvxnn.streamed import held
from cvxnn.truncation import orthonormal, seen_of, whole_of

Floats = NDArray[np.float64]


def evidence_of(model: Any, X: Any, target: Floats, weights: Any) -> Evidence:
    """Return the claim of a model, and what samples (n, d) and targets (n, c) say about it."""
    weights, keep = positive_weights(weights, X.shape[0])
    X = held(X, by_blocks(model, model.architecture_))
    objections: list[str] = []
    directions = model.directions_
    if fingerprint(X, target, weights) != model.fingerprint_:
        objections.append("these are not the data that the model was trained on")
    dual = model.dual_ if model.dual_.shape == target.shape else np.zeros(target.shape)
    gather = _on_given_gates if model.proof_ is None else _over_all
    X, target, weights, dual = X[keep], target[keep], weights[keep], dual[keep]
    if directions is None:
        return gather(model, X, X, target, weights, dual, objections)
    if not orthonormal(directions):
        objections.append("the directions that the network sees are not orthonormal")
    found = gather(model, X, seen_of(X, directions), target, weights, dual, objections)
    whole = whole_of(
        model.architecture_,
        found.claim,
        X,
        weights,
        directions,
        found.program.loss.loss,
        alpha=model.alpha_,
        outputs=target.shape[1],
        skip=model.skip_,
    )
    return found._replace(widen=None if whole is None else whole.lower)


def _on_given_gates(
    model: Any,
    X: Any,
    seen: Any,
    target: Floats,
    weights: Floats,
    dual: Floats,
    objections: list[str],
) -> Evidence:
    """Return the evidence of samples (n, d), of which networks in scope have `seen` (n, k)."""
    architecture = model.architecture_
    features = architecture.features(seen)
    gates = architecture.source.given(features, model._inward(model.generators_))
    whole = model.certificate_.scope is Scope.ALL_NETWORKS
    if whole and not _complete(architecture, gates, features):
        objections.append("the gates are not all activation patterns of the data")
    problem = assemble(
        architecture.weighted(weights),
        seen,
        gates,
        mean_loss(model._loss(target.shape[1]), target, weights),
        model.alpha_,
        free=free_columns(seen, intercept=model.fit_intercept, skip=model.skip_),
        outputs=target.shape[1],
        scope=model.certificate_.scope,
    )
    network = problem.architecture.stated(model.network_, X)
    return Evidence(
        claim=model.certificate_,
        program=problem.program,
        objective=objective(network, X, problem.program.loss, model.alpha_),
        dual=dual,
        objections=tuple(objections),
    )


def _over_all(
    model: Any,
    X: Any,
    seen: Any,
    target: Floats,
    weights: Floats,
    dual: Floats,
    objections: list[str],
) -> Evidence:
    """Return what `_on_given_gates` does for a claim over all networks."""
    samples = distinct_samples(X, target, weights)
    problem = training.open_problem_of(
        model.architecture_,
        seen[samples.index],
        target[samples.index],
        samples.weights,
        model._loss(target.shape[1]),
        intercept=model.fit_intercept,
        skip=model.skip_,
    ).at(model.alpha_)

    def prove(each: Floats) -> Any:
        with threads(None):
            return problem.recheck(model.proof_, samples.gather(each))

    own = X[samples.index]
    network = problem.architecture.stated(model.network_, own)
    return Evidence(
        claim=model.certificate_,
        program=problem.program,
        objective=objective(network, own, problem.program.loss, model.alpha_),
        dual=dual,
        prove=prove,
        objections=tuple(objections),
    )


def _complete(architecture: Architecture, gates: Gates, features: Array) -> bool:
    """Tell whether the gates hold every activation pattern of the data."""
    try:
        every = architecture.source.every(features)
    except ValueError:  # there are more than can be listed, let alone held by a model
        return False
    needed, given = (architecture.source.canonical(each.masks) for each in (every, gates))
    return bool(np.isin(pattern_keys(needed), pattern_keys(given)).all())
