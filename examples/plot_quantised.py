"""
How good is a network with weights of -1 and 1?
===============================================

Choosing signs is hard. A semidefinite program relaxes the choice, and its solution is rounded to a
network :cite:`BartanPilanci2021Quantized`. The title of the source is training to global
optimality; the theorem has a factor of 1.782 on the penalty. What is found?
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import fit_quantised
from cvxnn.experiments import quantised

# %%
# One fit hands over a network, a bound that no quantised network is below, and a promise that the
# best one is not above.

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 6))
y = 2 * X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.1 * rng.standard_normal(40)
found = fit_quantised(X, y, alpha=0.05, random_state=0)
print(f"network / bound {found.ratio:.4f}, promised {found.proved_ratio:.4f}")

# %%
# With few features all pairs of sign vectors can be listed, and the best of all networks is a Lasso
# over them. Bound, best and promise are in this order; the relaxation is often near, not exact; the
# rounded network is the best of all, and descent through the signs is it now and then.

findings = quantised.measure()
print(quantised.table(findings))
quantised.draw(findings)
plt.show()
