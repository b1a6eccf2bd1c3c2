"""
Is the nuclear norm the penalty of several outputs?
===================================================

Lecture slides state a theorem: with several outputs the training problem of a ReLU network equals a
convex program with nuclear norms, every column of its matrices in the cone of its pattern
:cite:`Sahiner2021`. What is true of it?
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import vector_output

# %%
# In the plane every neuron can be priced, arc by arc of the circle, which gives the optimum over
# all networks and its proof. For gated networks the nuclear norm is exact. ReLU networks lie
# between it, a lower bound, and one-vs-all, an upper bound.

findings = vector_output.measure()
for one in findings.orders:
    print(f"{one.name}: {one.gated:.6f} <= {one.exact:.6f} <= {one.one_vs_all:.6f}", end="")
    print(f", proved {one.bound:.6f}; the slide's program {one.slide:.6f}")

# %%
# The slide's program is two per cent above the optimum of random samples, and below that of three
# orthogonal ones: no bound on either side. The singular vectors of a matrix whose columns are in a
# cone need not be in it. The exact penalty is the gauge of u g' with u in the cone.

print(vector_output.table(findings.cases, "slide"))
vector_output.draw(findings)
plt.show()
