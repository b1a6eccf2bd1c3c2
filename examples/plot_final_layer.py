"""
Can the last layer of a pretrained network be trained to the optimum?
=====================================================================

A network trained on other data makes features; a head on them is trained anew. The decks retrain
the last layers of MobileNetV3 for person detection, by descent and by a convex program.

Here the features are those of CIFAR-10 images by a MobileNet, or pixels of scikit-learn's digits
where these are not found under ``CVXNN_DATA``; ``cvxnn reproduce final-layer --full`` takes all
samples.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import final_layer

findings = final_layer.measure()
print(findings.source)
print(final_layer.table(findings))

# %%
# ``ConvexHead`` standardises the features, draws gates, chooses the strength of weight decay on
# held-out samples, and solves one linear system a strength. The scaler is folded into the network,
# and ``head.attach(model, "classifier")`` puts it onto a torch module.
#
# The last row trains a layer of the backbone as well: ``alternate`` takes steps of an optimiser on
# the backbone and trains the head anew, and takes steps back after which the joint objective is
# larger. That problem is not convex, and nothing is proved of its optimum.
#
# Below, patches that show a face or none, or digits that are an eight or not, are told apart by
# filters, and by heads on a smaller pretrained network where its weights are there.

final_layer.draw(findings)
plt.show()
