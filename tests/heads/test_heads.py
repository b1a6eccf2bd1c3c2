"""Convex heads: the scaler folded, features streamed, the module attached, all layers by turns."""

from typing import Any

import numpy as np
import pytest

from cvxnn import ConvexHead, GatedReLU, GatedRidge, ReLU, alternate, verify
from cvxnn.errors import MemoryBudgetError, UnsupportedError
from cvxnn.heads.alternation import joint_objective
from cvxnn.heads.backbones import features_of


def data(n: int = 120, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.maximum(rng.standard_normal((n, d)) * np.geomspace(0.01, 100.0, d) + 1.0, 0.0)
    return X.astype(np.float32), (X[:, 2] > X[:, 2].mean()).astype(int) + (X[:, 5] > 0)


HEADS: list[tuple[Any, dict[str, Any]]] = [
    ("gated_ridge", {}),
    (GatedRidge(bias=False), {}),
    ("gated", {}),
    (GatedReLU(bias=False), {"loss": "squared"}),
    (ReLU(bias=False), {"tol": 0.1, "alpha": 0.1, "loss": "squared", "max_time": 3.0}),
]


@pytest.mark.filterwarnings("ignore:the time limit came first")
@pytest.mark.parametrize(("architecture", "words"), HEADS, ids=str)
def test_section_K_the_module_gives_our_outputs(architecture: Any, words: dict[str, Any]) -> None:
    """The scaler is folded, and the exported head equals ours to 1e-4 on rows that it never saw."""
    torch = pytest.importorskip("torch")
    X, y = data()
    words = {"alpha": 1e-2, "n_gates": 30, "random_state": 0} | words
    head = ConvexHead(architecture, **words).fit(X, y)
    held = data(50, seed=1)[0]
    scores = head.decision_function(held)
    seen = ((held - head.mean_) / head.scale_).astype(np.float32)
    scale = np.abs(scores).max()
    np.testing.assert_allclose(head.classifier_.decision_function(seen), scores, atol=1e-4 * scale)
    with torch.no_grad():
        for shape in ((50, 6), (50, 6, 1, 1)):
            outputs = head.to_torch()(torch.from_numpy(held).reshape(shape))
            assert outputs.dtype == torch.float32
            np.testing.assert_allclose(outputs, scores, atol=1e-4 * scale)
    np.testing.assert_array_equal(head.predict(held), head.classes_[scores.argmax(axis=1)])
    assert head.certificate_.proves(1e-4) or head.classifier_.proof_ is not None


def test_the_certificate_is_one_of_standardised_features() -> None:
    X, y = data()
    head = ConvexHead(n_gates=20, alpha=1e-2, random_state=0).fit(X, y)
    assert verify(head.classifier_, ((X - head.mean_) / head.scale_).astype(X.dtype), y)


def test_dead_channels_stay_so() -> None:
    X, y = data()
    X = np.column_stack([X, np.full(len(X), 3.0), 1e-9 * np.arange(len(X))]).astype(np.float32)
    head = ConvexHead(n_gates=20, alpha=1e-2, random_state=0).fit(X, y)
    deviations = X.std(axis=0, dtype=np.float64)
    assert head.scale_[7] == pytest.approx(0.1 * np.median(deviations))
    assert np.isfinite(head.decision_function(X)).all()
    constant = ConvexHead(n_gates=5, alpha=1e-2, floor=0.0).fit(np.c_[X, np.ones(len(X))], y)
    assert constant.scale_[-1] == 1.0


def test_alpha_is_validated_on_held_out_samples() -> None:
    X, y = data(300)
    head = ConvexHead(n_gates=50, random_state=0).fit(X, y)
    assert head.alpha_ in head.classifier_.alphas_
    assert head.classifier_.losses_.shape[1] == 1
    assert head.score(*data(300, seed=2)) > 0.8


def test_classes_are_weighted() -> None:
    X, y = data(300)
    rare = np.flatnonzero((y > 0) | (np.arange(300) % 10 == 0))
    X, y = X[rare], (y[rare] > 0).astype(int)
    words: dict[str, Any] = {"n_gates": 20, "alpha": 0.3, "random_state": 0}
    plain = ConvexHead(**words).fit(X, y)
    weighted = ConvexHead(class_weight="balanced", **words).fit(X, y)
    assert (weighted.predict(X) == 0).sum() > (plain.predict(X) == 0).sum()
    assert plain.decision_function(X).ndim == 1


def test_refusals() -> None:
    X, y = data()
    for words, message in (
        ({"floor": -1.0}, "floor is -1.0"),
        ({"alpha": "best"}, "expected 'auto' or a positive number"),
    ):
        head = ConvexHead(n_gates=5, **words)
        with pytest.raises(ValueError, match=message):
            head.fit(X, y)
    threshold = ConvexHead("threshold", alpha=0.1)
    with pytest.raises(UnsupportedError, match="cannot be folded into threshold networks"):
        threshold.fit(X, y)


# torch


class Batches:
    """A loader of given batches."""

    def __init__(self, *batches: tuple[Any, Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def network(torch: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)

    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU()
            )
            self.top = torch.nn.ModuleDict({"classifier": torch.nn.Linear(8, 5)})

        def forward(self, x: Any) -> Any:
            return self.top["classifier"](self.body(x))

    return Model().eval()


def batches(torch: Any, sizes: tuple[int, ...] = (40, 40, 30)) -> Batches:
    torch.manual_seed(1)
    some = []
    for k, size in enumerate(sizes):
        x = torch.randn(size, 4)
        y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1.0).long()
        some.append((x, y if k else torch.clamp(y, max=1)))  # the first batch lacks a class
    return Batches(*some)


def test_features_are_streamed_and_the_head_attached() -> None:
    torch = pytest.importorskip("torch")
    model, loader = network(torch), batches(torch)
    head = ConvexHead(n_gates=40, alpha=1e-3, random_state=0).fit_stream(model.body, loader)
    features, labels = features_of(model.body, loader)
    assert features.shape == (110, 8)
    np.testing.assert_array_equal(labels, np.concatenate([y for _, y in loader]))
    again = ConvexHead(n_gates=40, alpha=1e-3, random_state=0).fit(features, labels)
    np.testing.assert_array_equal(
        head.decision_function(features), again.decision_function(features)
    )
    assert all(parameter.grad is None for parameter in model.parameters())
    inputs = torch.randn(30, 4)
    with torch.no_grad():
        ours = head.decision_function(model.body(inputs).numpy())
        outputs = head.attach(model, "top.classifier")(inputs)
    np.testing.assert_allclose(outputs, ours, atol=1e-4 * np.abs(ours).max())


def test_wrong_backbones_and_places_are_told() -> None:
    torch = pytest.importorskip("torch")
    model, loader = network(torch), batches(torch)
    head = ConvexHead(n_gates=5, alpha=1e-2)
    model.body[1].train()
    with pytest.raises(ValueError, match=r"training mode \(1\); call backbone.eval"):
        head.fit_stream(model.body, loader)
    model.eval()
    ragged = Batches((torch.ones(3, 4), [0, 1, 0]), (torch.ones(3, 5), [0, 1, 0]))
    with pytest.raises(ValueError, match="batch 1 has 5 features a sample and the first 4"):
        head.fit_stream(torch.nn.Identity().eval(), ragged)
    maps = Batches((torch.ones(3, 4, 2, 2), [0, 1, 0]))
    with pytest.raises(ValueError, match="pool or flatten"):
        head.fit_stream(torch.nn.Identity().eval(), maps)
    with pytest.raises(ValueError, match="no batches"):
        head.fit_stream(model.body, Batches())
    head.fit_stream(model.body, loader)
    with pytest.raises(ValueError, match="no submodule 'classifier'; its own are 'body', 'top'"):
        head.attach(model, "classifier")
    with pytest.raises(ValueError, match="takes 4 features and the head 8"):
        head.attach(model, "body")


def test_memory_of_features_is_asked_for_at_the_first_batch(monkeypatch: Any) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("cvxnn.memory.available", lambda: 1000)
    with pytest.raises(MemoryBudgetError):
        features_of(network(torch).body, batches(torch))


@pytest.mark.parametrize("architecture", ["gated_ridge", "gated"])
@pytest.mark.parametrize("rate", [1e-4, 1e4])
def test_turns_never_raise_the_objective(architecture: str, rate: float) -> None:
    """With steps that help, and with steps so long that they are all taken back."""
    torch = pytest.importorskip("torch")
    model, loader = network(torch), batches(torch)
    head = ConvexHead(architecture, n_gates=30, alpha=1e-2, random_state=0)
    head.fit_stream(model.body, loader)
    optimizer = torch.optim.SGD(model.body.parameters(), lr=rate)
    statistics = model.body[1].running_mean.clone()
    weights = model.body[0].weight.detach().clone()
    found = alternate(model.body, head, loader, optimizer, rounds=3)
    assert (np.diff(found.objective) <= 0).all()
    assert torch.equal(statistics, model.body[1].running_mean)
    features, labels = features_of(model.body, loader)
    now = joint_objective(found.head, features, labels)
    assert now == pytest.approx(found.objective[-1], rel=1e-12)
    if rate > 1:
        assert not any(each.accepted for each in found.rounds)
        assert torch.equal(weights, model.body[0].weight)
        assert optimizer.param_groups[0]["lr"] == rate / 8
    else:
        assert all(each.accepted for each in found.rounds)
        assert found.objective[-1] < found.objective[0]
    np.testing.assert_allclose(found.head.mean_, head.mean_)
    # the joint objective is the certificate's own, on the features there are
    assert found.head.certificate_.upper == pytest.approx(now, rel=1e-5)


def test_heads_that_grow_do_not_alternate() -> None:
    torch = pytest.importorskip("torch")
    model, loader = network(torch), batches(torch)
    head = ConvexHead("relu", alpha=0.3, tol=0.5, loss="squared").fit_stream(model.body, loader)
    optimizer = torch.optim.SGD(model.body.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="grew over all networks"):
        alternate(model.body, head, loader, optimizer)
    gated = ConvexHead(n_gates=5, alpha=1e-2).fit_stream(model.body, loader)
    with pytest.raises(ValueError, match="rounds is 0"):
        alternate(model.body, gated, loader, optimizer, rounds=0)
