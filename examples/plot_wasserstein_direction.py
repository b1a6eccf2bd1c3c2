"""
What does descent miss in a Wasserstein gradient?
=================================================

The direction in which samples flow to a target is the gradient of a two-layer network, and the best
one a semidefinite program :cite:`WangChen2022`. Can descent on the network's weights find it?
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import wasserstein_direction
from cvxnn.experiments import wasserstein_direction as experiment

# %%
# Five samples on a line and a normal target have a closed form, -0.6208333 at alpha = 0.2.

found = wasserstein_direction(experiment.LINE, lambda x: -x, alpha=0.2, bias=False)
print(f"{found.certificate.upper:.7f}, proved {found.certificate.lower:.7f}")

# %%
# In the plane the optimum is often where a neuron just counts a sample in its Laplacian or just
# does not. That is a jump, which gradients do not see. It is also why alpha must be above a
# threshold, near 1 / n, for an optimum to exist, which the source does not say.

X = np.random.default_rng(0).standard_normal((7, 2))
print(f"no optimum below {wasserstein_direction(X, -X, bias=False).threshold * 7:.3f} / n")
findings = experiment.measure()
print(experiment.table(findings.cases))
experiment.draw(findings)
plt.show()
