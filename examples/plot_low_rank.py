"""
What does a low-rank approximation of the data cost?
====================================================

Data of rank k have about (n / k)^k activation patterns, so a small k makes the convex program
small. Lectures on convex networks promise that the program on the rank-k part of the data is
within a factor of 1 + sigma_{k+1} / lambda of the optimum. Is it?
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ConvexRegressor, ReLU
from cvxnn.experiments import low_rank

# %%
# Two samples are enough to see that it is not. In the source's units, ``1/2 |f - y|^2`` with
# ``beta/2`` on the squared weights, the network that sees the first singular direction alone has
# 5487.5 where the best one has 1278.04: a ratio of 4.29 where 1.08 is promised.

X, y, beta = np.diag([1.0, 0.4]), np.array([100.0, 100.0]), 5.0
for k in (1, 2):
    model = ConvexRegressor(
        ReLU(bias=False), alpha=beta / 2, gates="enumerate", fit_intercept=False, tol=1e-8
    ).fit(X[:, :k], y)
    certificate = model.certificate_
    print(f"k = {k}: {2 * certificate.upper:.4f}, proved {2 * certificate.lower:.4f}")
print("promised:", 1 + 0.4 / beta)

# %%
# No factor of this kind can be right for the squared loss. Multiply targets and beta by c: the
# ratio stays, and sigma / beta goes to zero. With the misfit e and the penalty R of the best
# network, outputs move by sigma_{k+1} R at most when the data lose their last directions, so that
#
# .. math::
#
#     p_k \le \tfrac12 (e + \sigma_{k+1} R)^2 + \beta R
#         \le p^* \left(1 + \frac{\sigma_{k+1}}{\beta} \sqrt{p^* / 2}\right)^2 .
#
# Data whose singular values halve from each to the next lose far less than either.

findings = low_rank.measure()
print(low_rank.table(findings))
low_rank.draw(findings)
plt.show()
