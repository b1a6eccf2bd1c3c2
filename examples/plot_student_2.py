"""
Do more neurons make gradient descent explode?
==============================================

The course report's second experiment has a 10 x 3 matrix, P = 92 patterns and up to 2P = 184
neurons. With 184, its SGD "sent weight values to infinity", from which it concludes that wide
networks, which the theory asks for, cannot be trained. Does the theory ask for them, and is it the
width that explodes?
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import student

findings = student.measure(student.SECOND)
print(student.table(findings))

# %%
# Every start with 184 neurons diverges when its weights have variance one. Gradient descent is
# unstable when the step exceeds 2 / curvature :cite:`Cohen2021`, and the curvature at such a start
# grows with the number of neurons.

widest = findings.widths[-1]
print(f"curvature {widest.curvature:.0f}; this step size allows {2 / (student.RATE * 10):.0f}")

# %%
# At the same step size, starts of variance 1/m never diverge, and it is the widest network whose
# starts all reach the certified floor. So width helps SGD; the theory needs none of it, since
# an optimal network has at most n = 10 neurons. The convex solver has no step size to choose.

print(f"{findings.neurons} neurons suffice, {widest.reached} starts reach the floor")
student.draw(findings)
plt.show()
