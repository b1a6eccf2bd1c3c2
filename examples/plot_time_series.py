"""
What does a convex network see in an electrocardiogram?
=======================================================

Lectures on convex networks predict the next value of a series from the last ones, read the linear
models off the network, and remark that randomly drawn gates are a locality-sensitive hash. No
numbers are given. Here are some, on an electrocardiogram and on taxi rides; where the files are not
at hand (`CVXNN_DATA`), on series made up to resemble them.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import time_series

# %%
# Models see 24 values. All choose their strength on the last fifth of the steps to train on. The
# convex networks come with a certificate over the networks on their gates.

findings = time_series.measure()
for one in findings.series:
    print(one.source)
print(time_series.table(findings))

# %%
# A network of three gates is one of eight linear models at most, and the coloured dots tell which
# one is active when. Two windows of the series differ in a random gate with probability angle / pi
# :cite:`Charikar2002`; neighbours differ in few, so that thousands of windows share few patterns.

time_series.draw(findings)
plt.show()
