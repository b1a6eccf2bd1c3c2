"""Pictures of filters and stages."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cvxnn import ConvexRegressor, ConvGated, LayerwiseClassifier, Stage
from cvxnn.display import FiltersDisplay, StagesDisplay, mosaic

DATA = load_digits()
X, Y = DATA.images[:300], DATA.target[:300]


@pytest.fixture(scope="module")
def model() -> LayerwiseClassifier:
    stages = [Stage(kernel=3, n_gates=8), Stage(kernel=2, n_gates=4, halve=False)]
    return LayerwiseClassifier(stages, alpha=0.1, random_state=0).fit(X, Y)


def test_patches_are_those_with_the_largest_products(model: LayerwiseClassifier) -> None:
    shown = FiltersDisplay.from_estimator(model, X, most=3, count=5)
    assert shown.firing is not None
    for rule, firing in zip(shown.filters, shown.firing, strict=True):
        products = [
            max((image[i : i + 3, j : j + 3] * rule[0]).sum() for i in range(6) for j in range(6))
            for image in X
        ]
        best = np.sort(products)[::-1][:5]
        np.testing.assert_allclose((firing * rule).sum(axis=(1, 2, 3)), best)


def test_filters_are_drawn_with_and_without_patches(model: LayerwiseClassifier) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    alone = FiltersDisplay.from_estimator(model).plot()
    axis = plt.subplots()[1]
    beside = FiltersDisplay.from_estimator(model, X, most=2, count=3).plot(axis)
    assert beside.axis_ is axis
    assert axis.images[0].get_array().shape == (2 * 4 + 1, 4 * 4 + 1, 3)
    assert len(alone.axis_.images) == 1
    plt.close("all")


def test_accuracy_by_stage(model: LayerwiseClassifier) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    X_test, y_test = DATA.images[300:600], DATA.target[300:600]
    shown = StagesDisplay.from_estimator(model, X_test, y_test).plot()
    assert shown.test[1] == model.score(X_test, y_test)
    first, second = (line.get_ydata() for line in shown.axis_.lines)
    np.testing.assert_allclose(first, 100 * shown.training)
    np.testing.assert_allclose(second, 100 * shown.test)
    plt.close("all")


def test_filters_of_a_convolutional_network_are_the_strongest_first() -> None:
    kind = ConvGated(shape=(1, 8, 8), kernel=3)
    model = ConvexRegressor(kind, alpha=0.1, n_gates=6, random_state=0).fit(X, Y)
    network = model.network_
    shown = FiltersDisplay.from_estimator(model, X, count=2)
    strong = network.lengths * np.linalg.norm(
        network.weights_out.reshape(network.n_neurons, -1), axis=1
    )
    np.testing.assert_allclose(shown.filters[0], np.asarray(network.filters)[strong.argmax()])
    assert shown.firing is not None
    assert shown.firing.shape == (network.n_neurons, 2, 1, 3, 3)


def test_colours_stay_colours() -> None:
    picture = np.zeros((1, 3, 2, 2))
    picture[0, 0] = 1.0
    assert mosaic(picture, columns=1)[1, 1].tolist() == [1.0, 0.0, 0.0]


def test_a_model_without_filters_is_told() -> None:
    dense = ConvexRegressor("gated", alpha=0.1, random_state=0).fit([[0.0], [1.0]], [0.0, 1.0])
    with pytest.raises(ValueError, match="has no filters"):
        FiltersDisplay.from_estimator(dense)
