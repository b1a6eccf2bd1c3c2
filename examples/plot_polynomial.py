"""
Which neurons does a polynomial network have?
=============================================

With a quadratic activation, neurons of length one and a penalty on the sum of outward weights,
training is a semidefinite program of the size of the data :cite:`BartanPilanci2021`. No activation
pattern is listed, and the proof over all networks takes polynomial time.
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ConvexRegressor, Polynomial
from cvxnn.experiments import polynomial

# %%
# Two samples have a closed form: the quadratic form diag(1.5, -0.5), of objective 1.25.

X, y = polynomial.KNOWN
square = Polynomial(bias=False, square=1.0, linear=0.0, constant=0.0)
model = ConvexRegressor(square, alpha=0.25, fit_intercept=False, tol=1e-9).fit(X, y)
print(f"certified {2 * model.certificate_.lower:.7f}")
net = model.network_
print(np.round((net.weights_in.T * net.weights_out[:, 0]) @ net.weights_in, 4))

# %%
# A neuron gains so much per unit of its weight as it correlates with the residual, and costs beta.
# At the optimum no direction gains more, and the neurons are where gain and cost are equal. Descent
# mostly finds the same network.

findings = polynomial.measure()
print(polynomial.table(findings.cases))
polynomial.draw(findings)
plt.show()
