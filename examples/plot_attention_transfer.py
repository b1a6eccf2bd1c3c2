"""
What does attention see that pooled features do not?
====================================================

A frozen network makes a token of every place of an image. Heads usually take their mean; convex
attention takes pairs of tokens, and what it finds has a certificate over all networks of this kind,
of any number of heads.

The tokens are those of CIFAR-10 images by a MobileNet, or patches of scikit-learn's digits where
these are not found under ``CVXNN_DATA``; ``cvxnn reproduce attention-transfer --full`` takes all
samples.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import attention_transfer

findings = attention_transfer.measure()
print(findings.source)
print(attention_transfer.table(findings))

# %%
# ``ConvexHead("attention")`` standardises the tokens, finds the strength of weight decay on
# held-out samples and descends on few heads until the dual point lacks none. Attention by Adam has
# as many heads and the same seconds.
#
# Scores of linear attention are sums over the tokens. The maps show what each adds to the class
# that is told, compared with the mean of all classes: nothing is approximated.

attention_transfer.draw(findings)
plt.show()
