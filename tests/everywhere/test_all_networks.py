"""Certificates over all networks against a thousand restarts of an independent local descent."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize_scalar

from cvxnn import ConvexClassifier, ConvexRegressor, ReLU
from cvxnn.certificate import Certificate, Scope
from cvxnn.everywhere.bound import Proof, prove, recheck
from cvxnn.everywhere.ladder import row_space
from cvxnn.everywhere.neurons import Training
from cvxnn.everywhere.open import OpenProblem, open_problem
from cvxnn.everywhere.patterns import few_patterns, pattern_gauge
from cvxnn.everywhere.quadratics import Rows
from cvxnn.everywhere.relaxed import isotropic
from cvxnn.everywhere.search import replay, search
from cvxnn.functions import Huber, Logistic, Squared, SquaredHinge, mean_loss
from cvxnn.gates import gaussian
from tests.everywhere import restarts
from tests.everywhere.restarts import Many, Task, ascent, best_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:nothing better was found"),
    pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning"),  # some have no neurons
]

LOSSES = ("squared", "squared", "huber", "logistic", "squared_hinge")
OURS = {"squared": Squared(), "huber": Huber(), "logistic": Logistic()}
PROBLEMS, CHUNKS = 200, 10
SHARE = 0.95
"""Of the problems of a rank that are to be proved to TOL."""
TOL = 1e-3
SECONDS = 0.3
"""For a proof."""
