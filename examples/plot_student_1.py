"""
Does gradient descent reach the convex optimum?
===============================================

A course report trains two-layer ReLU networks on a random 5 x 3 matrix by SGD for 200 steps, with
5, 15, 44 and 50 neurons, and compares with the convex program of :cite:`Pilanci2020`. It finds
that SGD "never seems to reach" the convex optimum, and is puzzled: the optimum needs at most n = 5
neurons by one theorem, and 2P = 44 by its own reading of another.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import student
from cvxnn.gates import cover_count

findings = student.measure(student.FIRST)

# %%
# P is the number of activation patterns. In general position it is Cover's count.

print("patterns:", findings.patterns, "  Cover's count:", cover_count(5, 3))

# %%
# The certificate is for all networks of any width, so it is a floor for SGD whatever its width.

print(f"objective {findings.objective:.8f}, certified lower bound {findings.bound:.8f}")

# %%
# The two theorems agree. The convex program has 2P candidate blocks, a positive and a negative
# neuron for every pattern, and its penalty leaves most of them at zero. What remains can be
# brought to n neurons at most by a linear program, at the same fit and penalty.

print(
    f"{findings.blocks} candidate blocks, {findings.nonzero} in the solver's answer, "
    f"{findings.neurons} neurons suffice"
)

# %%
# The gap that the report sees is not a duality gap. After 200 steps SGD is on its way; run on, from
# weights that do not grow with the width, it comes to the floor when it has neurons to spare. With
# no more neurons than the optimum needs it mostly ends in local minima. The spikes at the beginning
# are steps too large for the curvature of a wide network with weights of variance one.

print(student.table(findings))
student.draw(findings)
plt.show()
