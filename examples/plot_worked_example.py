"""
Three samples, all cells, and a cone that is too weak
=====================================================

Lectures on convex networks work out one example by hand: three samples in the plane. Their program
puts the cone ``D X u >= 0`` on every neuron and calls it equivalent to the network. Is it?
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ConvexRegressor, ReLU, enumerate_patterns
from cvxnn.experiments import worked_example

X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
y = np.array([1.0, 2.0, -1.0])

# %%
# A neuron ``max(0, x'u)`` is linear as long as the same samples stay on its open side, so the plane
# of ``u`` falls into cells, one per activation pattern. The first two samples are parallel, which
# leaves four cells where three lines in general position make six.

print(enumerate_patterns(X).masks.astype(int))

# %%
# Inside a cell the network's objective is convex. The source writes ``1/2 |f - y|^2`` with
# ``beta/2`` on the squared weights; cvxnn means over samples, so its ``alpha`` is ``beta / 3`` and
# its objectives are a third of the source's.

model = ConvexRegressor(
    ReLU(bias=False),
    alpha=0.1 / 3,
    gates="enumerate",
    solver="reference",
    fit_intercept=False,
    tol=1e-7,
).fit(X, y)
print(model.certificate_.summary())
print("objective in the source's units:", round(3 * model.certificate_.upper, 8))

# %%
# With every pattern among the gates, the certificate speaks of all networks of any width: none is
# below 0.2310. The slide's cone forgets that a neuron must be closed on the samples outside its
# pattern, where the right one is ``(2 D - I) X u >= 0``. Its program has the value 0.1768, the
# same as with no cone at all, and the network that its solution describes has 5.58. The source
# also drops a factor of two: for ``|f - y|^2 + lambda * (weights squared)`` the penalty of the
# convex program is ``2 * lambda * sum of norms``.

findings = worked_example.measure()
print(worked_example.table(findings))
worked_example.draw(findings)
plt.show()
