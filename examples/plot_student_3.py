"""
Is a program of sampled gates a lower bound on training?
========================================================

The course report's third experiment classifies about a hundred images of two CIFAR-10 classes, as
100 principal components, with 12 neurons. All patterns are too many there, so its convex program
takes 50 sampled ones, and it calls the value a lower bound towards which SGD converges.

Here are 60 images. Where CIFAR-10 is not found under ``CVXNN_DATA``, scikit-learn's digits stand
in for it; ``cvxnn reproduce student-3 --full`` takes 100.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import student_images

findings = student_images.measure()
print(findings.source)
print(student_images.table(findings))

# %%
# SGD ends below the ReLU program of the sampled gates. Nothing is wrong with either: the scope of
# that program's certificate is ``GIVEN_GATES``, networks with those activation patterns, and SGD
# moves its neurons to other ones. On the gates where SGD ended, the convex program is never above
# it, because SGD's network is one of its points.
#
# The gated program is lower still. It is exact for gated networks, whose gates stay as they were
# drawn, and says nothing of ReLU networks with other patterns. A floor for every ReLU network
# comes from relaxing the constraint of the dual; it is rigorous and far from tight.
#
# Objective and accuracy are two questions: the programs differ in the first more than in the
# second.

student_images.draw(findings)
plt.show()
