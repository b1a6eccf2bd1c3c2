"""
Does gradient flow always find the largest margin?
==================================================

Lectures on convex networks say: if the data are linearly separable, gradient flow without weight
decay converges to the solution of the convex program :cite:`WangPilanci2022`. The program is the
one of least norm with margin 1. Does it?
"""

import matplotlib.pyplot as plt

from cvxnn import ReLU, margin_flow, max_margin
from cvxnn.experiments import margin

# %%
# Samples of the same class with positive inner products, of different classes with none: on such
# orthogonally separable data it does :cite:`Phuong2021`.

X, y = margin.ORTHOGONAL, [1, 1, -1, -1]
best = max_margin(X, y, architecture=ReLU(bias=False))
print(best.certificate.summary())
flow = margin_flow(X, y, bias=False, width=6, steps=1500, optimum=best, random_state=0)
print(f"flow: norm / margin {flow.norms[-1]:.4f}, {flow.excess:.2%} above")

# %%
# Linear separability alone is not enough. What gradient flow tends to is a stationary point of the
# margin problem, and there are worse ones: here two of five starts end at one where a single neuron
# stands in for two, and stay. It is the optimum of the program on the patterns of its own neurons.

findings = margin.measure()
print(margin.table(findings))
for note in margin.notes(findings):
    print(note)
margin.draw(findings)
plt.show()
