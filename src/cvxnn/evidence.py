"""What a fitted estimator shows to be checked, on data that may be others than its own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn import training
from cvxnn.architectures import assemble, free_columns
from cvxnn.certificate import Evidence, Scope
from cvxnn.functions import mean_loss
from cvxnn.linalg import threads
from cvxnn.reading import by_blocks
from cvxnn.samples import distinct_samples, fingerprint, positive_weights
from cvxnn.streamed import held

Floats = NDArray[np.float64]


def evidence_of(model: Any, X: Any, target: Floats, weights: Any) -> Evidence:
    """Return the claim of a model, and what samples (n, d) and targets (n, c) say about it."""
    weights, keep = positive_weights(weights, X.shape[0])
    X = held(X, by_blocks(model, model.architecture_))
    objections: list[str] = []
    if fingerprint(X, target, weights) != model.fingerprint_:
        objections.append("these are not the data that the model was trained on")
    dual = model.dual_ if model.dual_.shape == target.shape else np.zeros(target.shape)
    gather = _on_given_gates if model.proof_ is None else _over_all
    return gather(model, X[keep], target[keep], weights[keep], dual[keep], objections)


def _on_given_gates(
    model: Any, X: Any, target: Floats, weights: Floats, dual: Floats, objections: list[str]
) -> Evidence:
    architecture = model.architecture_
    features = architecture.features(X)
    gates = architecture.source.given(features, model.generators_)
    whole = model.certificate_.scope is Scope.ALL_NETWORKS
    if whole and not training.complete(architecture, gates, features):
        objections.append("the gates are not all activation patterns of the data")
    problem = assemble(
        architecture.weighted(weights),
        X,
        gates,
        mean_loss(model._loss(target.shape[1]), target, weights),
        model.alpha_,
        free=free_columns(X, intercept=model.fit_intercept, skip=model.skip_),
        outputs=target.shape[1],
        scope=model.certificate_.scope,
    )
    return Evidence(
        claim=model.certificate_,
        program=problem.program,
        objective=problem.objective(model.network_),
        dual=dual,
        objections=tuple(objections),
    )


def _over_all(
    model: Any, X: Any, target: Floats, weights: Floats, dual: Floats, objections: list[str]
) -> Evidence:
    samples = distinct_samples(X, target, weights)
    problem = training.open_problem_of(
        model.architecture_,
        X[samples.index],
        target[samples.index],
        samples.weights,
        model._loss(target.shape[1]),
        intercept=model.fit_intercept,
        skip=model.skip_,
    ).at(model.alpha_)

    def prove(each: Floats) -> Any:
        with threads(None):
            return problem.recheck(model.proof_, samples.gather(each))

    return Evidence(
        claim=model.certificate_,
        program=problem.program,
        objective=problem.objective(model.network_),
        dual=dual,
        prove=prove,
        objections=tuple(objections),
    )
