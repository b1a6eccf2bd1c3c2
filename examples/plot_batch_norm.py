"""
What does batch normalisation do to the convex program?
=======================================================

Batch normalisation whitens the data that a neuron sees :cite:`Ergen2022`. Before the ReLU the
program is that of ReLU networks on whitened data; after it every activation pattern has an
orthonormal basis of its own. Lecture slides print the second with the singular vectors of the
active rows. Is that the network's optimum?
"""

import matplotlib.pyplot as plt

from cvxnn import BatchNormAfter, ConvexRegressor
from cvxnn.experiments import batch_norm

# %%
# Four samples. The sum of 1/2 (f - y)^2 with beta = 0.3 is n times the mean with alpha = beta / n.

X, y = batch_norm.KNOWN
model = ConvexRegressor(
    BatchNormAfter(bias=False, unit_scale=True),
    alpha=0.3 / 4,
    gates="enumerate",
    fit_intercept=False,
    tol=1e-9,
).fit(X, y)
print(f"certified {4 * model.certificate_.lower:.7f}")
print(f"the slide's program {batch_norm.uncentred(X, y):.7f}")

# %%
# It is not: the layer subtracts a mean, and the singular vectors must be those of the active rows
# less their column means. With them program, network and a lasso over all directions agree, and no
# descent is below. The slide's weight decay is on the layers that normalisation makes scale-free;
# here it is on scales, shifts and outward weights, without which there is no optimum.

findings = batch_norm.measure()
print(batch_norm.table(findings.cases, "slide"))
batch_norm.draw(findings)
plt.show()
