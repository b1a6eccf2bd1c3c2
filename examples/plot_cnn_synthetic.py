"""
A convolutional network, its optimum, and gradient descent
==========================================================

Lectures on convex networks train a two-layer convolutional network on six signals of length 15,
with filters of ten and a stride of five, by five starts of descent, beside the convex program.
``cvxnn reproduce cnn-synthetic`` writes the numbers.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import cnn_synthetic

findings = cnn_synthetic.measure()
print(cnn_synthetic.table(findings))

# %%
# A pattern of activation is joint over the places of a filter, and there are few thousand: with all
# of them in one program the bound is the optimum, and the filters that were grown attain it.

cnn_synthetic.draw(findings)
plt.show()
