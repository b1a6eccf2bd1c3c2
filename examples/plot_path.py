"""
How many neurons does an optimal network have?
==============================================

Lectures on convex networks say that the number of neurons decreases as the strength of weight
decay grows, and that the convex program generates all optimal networks with m neurons, for
m = 1, 2, ... What is exact in this?
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ConvexRegressor, ReLU
from cvxnn.experiments import regularisation_path
from cvxnn.optima import optimal_set

# %%
# Eight samples around the origin, with the symmetry of a square. Every pattern is listed, so the
# certificate speaks of all networks.

X = np.array([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]], dtype=float)
y = np.array([3.0, 1.0] * 4)
model = ConvexRegressor(
    ReLU(bias=False), alpha=0.45, gates="enumerate", fit_intercept=False, tol=1e-8
).fit(X, y)
print(model.certificate_.summary())

# %%
# The optimal networks are a polytope of sizes over finitely many directions
# :cite:`Mishkin2023`. Its vertices are the networks whose neurons are independent on the samples.
# Here they have four neurons or five, and all have the same objective and the same outputs on the
# samples.

optima = optimal_set(model, X, y)
vertices = optima.vertices()
print("directions:", len(optima.signs), "  one network only:", optima.is_unique())
print("neurons of the vertices:", (vertices > 0).sum(axis=1).tolist())
for sizes in (vertices[0], vertices[-1]):
    network = optima.network(sizes)
    loss = ((network(X)[:, 0] - y) ** 2).mean() / 2
    print(network.n_neurons, "neurons:", round(loss + 0.45 * network.weight_decay(), 10))

# %%
# So there are optimal networks for every m from the smallest vertex on, as a neuron can be split
# in two, and none for a smaller m. Along the path the size of the smallest mostly grows as alpha
# falls, not always: on ten random samples it goes from four neurons back to three.

findings = regularisation_path.measure()
print(regularisation_path.table(findings))
regularisation_path.draw(findings)
plt.show()
