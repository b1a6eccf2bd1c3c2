"""
Two classes of images: descent, a grown network, and what is proved
===================================================================

The same lecture slides train on 195 images of two CIFAR-10 classes, with 8 and with 50 neurons.
Here are 60 images. Where CIFAR-10 is not found under ``CVXNN_DATA``, scikit-learn's digits stand in
for it; ``cvxnn reproduce cifar-binary --full`` takes 195.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import cifar_binary

findings = cifar_binary.measure()
print(findings.source)
print(f"{findings.samples} images of {findings.pixels} numbers, rank {findings.rank}")

# %%
# No column of the network's first layer gains from leaving the span of the images, so they are
# given by their coordinates there. Inner products stay the same, and with them the problem.
#
# The grown network ends below SGD at both widths. Its certificate speaks of all networks of any
# width. At this rank patterns cannot be enumerated, and a gap is left: it is not known how much of
# it is the network's and how much the proof's.

grown = findings.grown
print(f"scope {grown.scope}, proved by {grown.proved_by}, relative gap {grown.gap:.3f}")
print(cifar_binary.table(findings))

# %%
# The objective is what is trained; on images not seen the networks are about as good as each
# other.

cifar_binary.draw(findings)
plt.show()
