"""
Why do wide networks explode?
=============================

A course report counts how often SGD diverges on a random n x 3 matrix with 2 to 100 neurons, and
finds that wide networks explode. It takes this for evidence against the theory of
:cite:`Pilanci2020`, which asks for many neurons.
"""

import matplotlib.pyplot as plt

from cvxnn.experiments import student_explode

findings = student_explode.measure()
print(student_explode.table(findings))

# %%
# One step size serves all widths. Gradient descent is unstable with steps beyond 2 / curvature
# :cite:`Cohen2021`, and from weights of variance one the curvature grows about as the width.

for n, power in zip(student_explode.SAMPLES, student_explode.slopes(findings), strict=True):
    print(f"n = {n}: curvature grows as m to the power {power:.2f}")

# %%
# No run diverges whose step begins within 2 / curvature. Not every run beyond it does: some way
# beyond, descent still finds its way to flatter places.

for tally in findings.tallies:
    high = "" if tally.high is None else f" to {tally.high}"
    print(
        f"step / (2 / curvature) from {tally.low}{high}: {tally.diverged} of {tally.runs} diverge"
    )

# %%
# A network that is grown has no step to choose. For each n the table above has its certificate.

student_explode.draw(findings)
plt.show()
