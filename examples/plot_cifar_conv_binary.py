"""
A convolutional network on two classes of images
================================================

Lectures on convex networks train a two-layer convolutional network on two classes of CIFAR-10 by
gradient descent and by a convex program. Here filters are also grown, with a bound on all of them.
scikit-learn's digits stand in for CIFAR-10 where it is not found under ``CVXNN_DATA``;
``cvxnn reproduce cifar-conv-binary --full`` takes 195 images with all their pixels.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import cifar_conv

findings = cifar_conv.measure()
print("\n".join(cifar_conv.notes(findings)))
print(cifar_conv.table(findings))

# %%
# The program of fixed gates is another model than the network that descent trains: its optimum lies
# lower and is no bound on that network. What bounds every network with these filters is the line
# over the grey area, which is rigorous and far from tight.

cifar_conv.draw(findings)
plt.show()
