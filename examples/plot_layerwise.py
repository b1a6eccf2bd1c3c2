"""
Images, stage by stage
======================

A convolutional network can be trained one stage at a time, each by a convex program that is solved
to its optimum. Here are 1,000 images of CIFAR-10; where it is not found under ``CVXNN_DATA``,
scikit-learn's digits stand in for it. ``cvxnn reproduce layerwise --full`` takes all images.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import layerwise

findings = layerwise.measure()
print(findings.source)
print(layerwise.table(findings))

# %%
# A stage sees the columns of all before it, so its training loss cannot be above theirs. The gap
# is proved for every stage; joint training of all filters is another problem.

layerwise.draw(findings)
plt.show()
