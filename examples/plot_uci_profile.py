"""
Many problems: the share that is solved, against time
=====================================================

Lectures on convex networks show the share of 400 problems from the UCI collection that each method
solves, to 1e-3 of the best objective, against time; SGD and Adam take the best of ten starts times
ten step sizes. Here are two tables at three strengths with fewer starts, steps and epochs;
``cvxnn reproduce uci-profile --full`` takes the collection, where ``CVXNN_DATA`` has it, the
smallest sets first, for two hours at a time.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import uci_profile

findings = uci_profile.measure()
print(findings.source)
print(uci_profile.table(findings))

# %%
# Clocks are CPU seconds of one thread. That of "all runs" holds the whole grid, as one who does
# not know the best start and step size needs it; that of "best run" is for one who was told.
# The gated program is a problem of its own, and is solved when a duality gap of 1e-3 is proved.

for note in uci_profile.notes(findings)[2:-1]:
    print(note)

uci_profile.draw(findings)
plt.show()
