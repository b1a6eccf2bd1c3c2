"""
How far is a trained network from the best?
===========================================

Gradient descent ends somewhere. Was there anything better to find? Here scikit-learn trains a
network, `certify_network` says how far it is from the best network of *any* width, and two ways
lead on: polishing it by a convex program on its own activation patterns, and growing a network
from nothing.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

from cvxnn import ConvexRegressor, certify_network, from_sklearn, polish

X, y = load_diabetes(return_X_y=True)
X, y = scale(X[:, [2, 3, 8]]), scale(y)  # body mass, blood pressure, a serum value

# %%
# scikit-learn's penalty is half the sum of squares over the number of samples, and its biases are
# free; ours weighs the hidden bias with the neuron. At the same strength the two differ a little,
# and the comparison is in our objective.

alpha = 0.02
words = {"hidden_layer_sizes": (30,), "alpha": alpha * len(X), "max_iter": 2000, "tol": 1e-7}
networks = []
for seed in range(5):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        networks.append(from_sklearn(MLPRegressor(**words, random_state=seed).fit(X, y)))
far = certify_network(networks[0], X, y, alpha=alpha, gates="all", proof_time=3)
print(far.summary())

# %%
# A little of that distance is what the bound does not prove, most is what descent left behind.
# Polishing never makes a network worse.

polished = [polish(net, X, y, alpha=alpha) for net in networks]
before, after = (
    [certify_network(net, X, y, alpha=alpha).upper for net in nets] for nets in (networks, polished)
)
for one, other, net in zip(before, after, polished, strict=True):
    print(f"trained {one:.5f}, polished {other:.5f} with {net.n_neurons} neurons")

# %%
# A grown network starts from no neuron and adds what lowers the objective most. Its certificate
# speaks of all networks, so the lower bound holds for every other bar too.

grown = ConvexRegressor(gates="grow", alpha=alpha, tol=1e-2, proof_time=10, random_state=0)
grown.fit(X, y)
print(grown.certificate_.summary())

# %%

fig, ax = plt.subplots(figsize=(7, 3.2))
place, last = np.arange(len(before)), len(before)
ax.bar(place - 0.2, before, 0.4, label="trained by descent")
ax.bar(place + 0.2, after, 0.4, label="polished")
ax.bar(last, grown.certificate_.upper, 0.4, label="grown")
ax.axhline(grown.certificate_.lower, color="black", linestyle="--", label="nothing is below")
ax.set_xticks([*place, last], [f"seed {k}" for k in place] + ["grown"])
ax.set_ylim(0.98 * grown.certificate_.lower, 1.02 * max(before))
ax.set_ylabel("objective")
ax.legend(ncols=4, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.15))
fig.tight_layout()
