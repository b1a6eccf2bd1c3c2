"""
Can networks of thresholds be trained?
======================================

A step has no slope, so gradient descent takes one that is not the step's own. The convex program
needs none: it is a Lasso whose columns are the activation patterns :cite:`Ergen2023`. Which
patterns?
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ConvexRegressor, Threshold
from cvxnn.experiments import threshold

# %%
# Those of open cells, enough for ReLU networks, are too few: on three samples of a line the best
# neuron is w = 0, which is active everywhere, and lies in no open cell.

X, y = np.array([[1.0], [-1.0], [2.0]]), np.ones(3)
for gates in (np.array([[1.0], [-1.0]]), "enumerate"):
    model = ConvexRegressor(
        Threshold(bias=False), alpha=0.1 / 3, gates=gates, fit_intercept=False, tol=1e-9
    ).fit(X, y)
    print(f"{3 * model.certificate_.upper:.7f}, {model.certificate_.scope.value}")

# %%
# With a hidden bias there is nothing on borders, and all steps between samples are there. The best
# of all step functions beside twenty descents by the straight-through estimator:

findings = threshold.measure()
print(threshold.table(findings.cases, "open cells only"))
threshold.draw(findings)
plt.show()
