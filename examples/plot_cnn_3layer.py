"""
Three-layer convolutional networks: the penalty that is exact
=============================================================

Lectures on convex networks train three-layer circular convolutional networks on 99 images by five
starts of SGD, beside a convex program. The penalty that they print is that of networks with a
filter of its own at every place; for shared filters and fixed gates the nuclear norm is exact.
Images are those of MNIST and CIFAR-10 found under ``CVXNN_DATA``, or scikit-learn's digits in their
place; ``cvxnn reproduce cnn-3layer --full`` takes 99 of them.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import cnn_three

findings = cnn_three.measure()
print(cnn_three.table(findings))

# %%
# No gated network with shared filters on the program's gates is in the grey part, however wide it
# is. ReLU networks choose their own gates: they are another model.

cnn_three.draw(findings)
plt.show()
