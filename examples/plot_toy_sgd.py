"""
How often does gradient descent find the best network?
======================================================

Lecture slides on :cite:`Pilanci2020` show ten starts of SGD on a toy data set in the plane, with 8
and with 15 neurons, above the value of the convex program. Here is such a data set, ten samples
with random signs for labels, and the count.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import toy_descent

findings = toy_descent.measure()

# %%
# A network is grown: neurons are added while one is found that lowers the objective. In the plane
# all activation patterns can be gone through, and that proves the optimum over all networks.

grown = findings.grown
print(f"objective {grown.objective:.8f}, lower bound {grown.bound:.8f}, by {grown.proved_by}")

# %%
# How many neurons does the optimum need? These are the sizes of the optimal networks that cannot
# be made smaller; all others mix them, or split neurons.

print("neurons:", findings.sizes)

# %%
# Both widths have room for so many neurons, and most starts end above the optimum all the same.
# More neurons help.

print(toy_descent.table(findings))
for m, reached in zip(toy_descent.WIDTHS, findings.other_reached, strict=True):
    print(f"on other draws of the data, m = {m}: {reached} of {findings.other_starts}")

# %%
# Blue starts come within a thousandth of the certified optimum, orange ones do not. The dot marks
# when the bound was proved.

toy_descent.draw(findings)
plt.show()
