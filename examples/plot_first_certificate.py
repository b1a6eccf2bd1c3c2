"""
How good is the network I trained?
==================================

The answer comes with the fit: the objective of the network, and a bound below which no network in
scope can go. Here on the breast cancer data, thirty features of cells and a diagnosis.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from cvxnn import ConvexClassifier

data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(
    data.data, data.target, random_state=0, stratify=data.target
)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

# %%
# The certificate names its scope: read it before the numbers.

model = ConvexClassifier(random_state=0).fit(X_train, y_train)
print(model.certificate_)

# %%
# It speaks of the training objective. What the network is worth on new data is another question,
# with its own answer.

print(f"accuracy on data not seen: {model.score(X_test, y_test):.3f}")

# %%
# The penalty is the sum over neurons of the product of their weights' norms, so it keeps few
# neurons. Their share of the penalty, largest first:

network = model.network_
strengths = np.linalg.norm(network.weights_in, axis=1) * np.linalg.norm(
    np.reshape(network.weights_out, (network.n_neurons, -1)), axis=1
)
probability = model.predict_proba(X_test)[:, 1]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.bar(np.arange(network.n_neurons), np.sort(strengths)[::-1])
left.set(xlabel="neuron", ylabel="|w_in| |w_out|", title=f"{network.n_neurons} neurons")
for label, name in enumerate(data.target_names):
    right.hist(probability[y_test == label], bins=np.linspace(0, 1, 21), alpha=0.6, label=str(name))
right.set(
    xlabel=f"predicted probability of {data.target_names[1]}",
    ylabel="samples",
    title="Data not seen",
)
right.legend()
plt.show()
