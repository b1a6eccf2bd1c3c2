"""
Faces from a critic in closed form
==================================

A Wasserstein generative network trains a generator against a critic. Where the critic has one
hidden layer of quadratic neurons, the best one is known: it sees the spectral norm of the
difference of two covariances. What does a generator look like that is optimal against it, and how
good are its pictures? Here are faces; where they are not found under ``CVXNN_DATA``,
scikit-learn's digits stand in for them. ``cvxnn reproduce gan-faces --full`` takes all faces.
"""

import matplotlib.pyplot as plt
import numpy as np

from cvxnn import ConvexGAN
from cvxnn.experiments import gan_faces
from cvxnn.generation.critics import critic_distance

# %%
# The optimum in closed form: every variance above lam is generated, less lam. The certificate
# bounds the mean of \|G\|^2 over all generators that the critic lets pass, and the critic sees lam,
# no more and no less.

images, others, source = gan_faces.load(full=False, seed=0)
print(source)
model = ConvexGAN(n_components=0.95).fit(images)
print(model.certificate_)
rows = images.reshape(len(images), -1)
mean = rows.mean(axis=0)
deviations = model.generator_.weights @ model.generator_.components
latents = np.sqrt(model.latent_) * np.eye(model.latent_)
print(critic_distance(rows - mean, latents @ deviations).value, model.lam_)

# %%
# That generator is linear, and with Gaussian latents it is probabilistic PCA. No quadratic critic
# can ask for more. The freedom that it leaves, the factor L of G = L (C - lam)_+^{1/2} V', can be
# taken from the samples: each is given to a latent by optimal transport, and a polynomial or a
# gated network learns those pairs. Its covariance is the same, its certificate too.
#
# Stages of rising resolution have latents of their own: a chain that has none but the first
# stage's cannot make pictures of a higher rank.

findings = gan_faces.measure()
print(gan_faces.table(findings))
for note in gan_faces.notes(findings):
    print("-", note)
gan_faces.draw(findings)
plt.show()
