"""
Which linear model is active when?
==================================

A threshold autoregression moves by one linear model while it is high and by another while it is
low. A certified network finds the two, and tells where each is active.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression

from cvxnn import ConvexForecaster
from cvxnn.display import RegimesDisplay

# %%
# The series: y[t] = 1 + 0.8 y[t-1] - 0.5 y[t-2] below zero, and -0.9 y[t-1] + 0.2 y[t-2] above, up
# to noise.

rng = np.random.default_rng(0)
y = np.zeros(600)
for t in range(2, len(y)):
    low = y[t - 1] < 0
    mean = 1.0 + 0.8 * y[t - 1] - 0.5 * y[t - 2] if low else -0.9 * y[t - 1] + 0.2 * y[t - 2]
    y[t] = mean + 0.1 * rng.normal()
train, test = y[:400], y[400 - 2 :]

# %%
# Persistence and the best linear autoregression say how hard the series is. Validation would take
# a smaller alpha (`alpha="auto"`): more neurons, that bend where the noise does. Here few are to be
# read. The bound over all networks is what a second of proof gives; the estimate says that a wide
# search found no better neuron.

model = ConvexForecaster("relu", lags=2, alpha=1e-3, random_state=0).fit(train)
print(model.certificate_.summary())
print(f"estimated gap {model.estimated_gap_:.1e}")
windows = np.lib.stride_tricks.sliding_window_view(y, 3)
linear = LinearRegression().fit(windows[:398, :2], windows[:398, 2])
spread = ((test[2:] - test[2:].mean()) ** 2).sum()
print(f"persistence  R2 = {1 - ((test[2:] - test[1:-1]) ** 2).sum() / spread:.3f}")
print(f"linear       R2 = {linear.score(windows[398:, :2], windows[398:, 2]):.3f}")
print(f"network      R2 = {model.score(test):.3f}")
print(f"three steps  R2 = {model.score(test, steps=3):.3f}")

# %%
# Where the same neurons are active the network is one linear model. The frequent regimes have the
# coefficients of the series, about 0.8 and -0.5 below zero, -0.9 and 0.2 above.

regimes = model.regimes(y)
for k in range(3):
    share = regimes.counts[k] / regimes.counts.sum()
    newest_first = regimes.coefficients[k, ::-1, 0].round(2).tolist()
    print(f"regime {k}: {share:.0%} of the steps, lags 1 and 2: {newest_first}")
RegimesDisplay.from_estimator(model, y[:200], most=3).plot()
plt.show()
