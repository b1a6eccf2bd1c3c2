"""`cvxnn verify` believes no file: both bounds, written out here in plain NumPy, decide."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar, nnls
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner, Result

from cvxnn.cli import app
from cvxnn.files import sealed

COPIES = 34
"""Of each kind, of each of the two models: 204 in all."""
RUNNER = CliRunner()
DATA = "sklearn:breast_cancer"


@dataclass(frozen=True, eq=False)
class Claim:
    """A saved model, and what an independent reader needs to check it."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    X: np.ndarray
    y: np.ndarray

    @property
    def step(self) -> dict[str, Any]:
        return self.header["steps"][1]

    def part(self, name: str) -> np.ndarray:
        return self.arrays[f"1.{name}"]

    def moved(self, name: str, place: tuple[int, ...], by: float) -> "Claim":
        array = self.part(name).copy()
        array[place] += by
        return replace(self, arrays={**self.arrays, f"1.{name}": array})

    def gap(self) -> float:
        certificate = self.step["certificate"]
        return certificate["upper"] - certificate["lower"]


def read(path: Path) -> Claim:
    header, arrays = sealed.read(path)
    X, labels = load_breast_cancer(return_X_y=True)
    X = (X - arrays["0.mean"]) / arrays["0.scale"]
    return Claim(header, arrays, np.column_stack([X, np.ones(len(X))]), 1.0 - 2.0 * labels)


def upper(claim: Claim) -> float:
    """mean log(1 + exp(-y f)) + alpha * sum |u_j| |a_j|; the last class, malignant, is y = 1."""
    weights_in, weights_out = claim.part("network.weights_in"), claim.part("network.weights_out")
    values = claim.X @ weights_in.T
    rules = claim.arrays.get("1.network.gates", weights_in)
    on = claim.X @ rules.T >= 0
    f = (values * on) @ weights_out[:, 0] + claim.part("network.intercept")[0]
    f += claim.X[:, :-1] @ claim.part("network.skip")[:, 0]
    decay = np.linalg.norm(weights_in, axis=1) @ np.abs(weights_out[:, 0])
    return float(np.logaddexp(0, -claim.y * f).mean() + claim.step["alpha"] * decay)


def lower(claim: Claim, gates: np.ndarray) -> float:
    """The most that the dual vector proves against `gates`, over all ways to shrink it.

    max over s of -mean h(s t), t_i = n v_i y_i, h(t) = t log t + (1 - t) log(1 - t), for v summing
    to zero, with s t in [0, 1] and s * gauge <= alpha. More gates can only lower it.
    """
    v = claim.part("dual")[:, 0]
    v = v - v.mean()
    t = len(v) * v * claim.y
    if t.min() < -1e-9:
        return 0.0
    t = np.maximum(t, 0)
    gauge = max((gauge_of(claim, g, v) for g in gates), default=0.0)
    most = min(1 / t.max(), claim.step["alpha"] / gauge if gauge else np.inf)

    def cost(s: float) -> float:
        st = np.clip(s * t, 0, 1)
        inside = (st > 0) & (st < 1)
        p = st[inside]
        return float((p * np.log(p) + (1 - p) * np.log(1 - p)).sum() / len(t))

    best = minimize_scalar(cost, bounds=(0, most), method="bounded", options={"xatol": 1e-14})
    return -min(best.fun, cost(most))


def gauge_of(claim: Claim, gate: np.ndarray, v: np.ndarray) -> float:
    """max <X' D v, u> over |u| <= 1; for ReLU over u, or -u, in the cone of the pattern D."""
    on = claim.X @ gate >= 0
    g = claim.X.T @ (on * v)
    if claim.step["architecture"]["name"] == "gated":
        return float(np.linalg.norm(g))
    rows = (2.0 * on - 1.0)[:, None] * claim.X
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return max(nnls(rows.T, sign * g, maxiter=30 * len(rows))[1] for sign in (1.0, -1.0))


@pytest.fixture(scope="module", params=["gated", "relu"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / f"{request.param}.cvxnn"
    alpha = {"gated": "0.12", "relu": "0.05"}[request.param]  # a tenth of alpha_max
    words = ["fit", DATA, "-o", str(path), "-a", request.param, "--alpha", alpha]
    words += ["--gates", "sample", "--n-gates", "64"]
    run = RUNNER.invoke(app, [*words, "--test-size", "0", "--quiet"])
    assert run.exit_code == 0, run.output
    return path


KINDS = {
    "weight": ("weights_in", "weights_out", "intercept", "skip"),
    "gate": ("gates", "generators"),
    "dual": ("dual",),
}


def moved(claim: Claim, kind: str, rng: np.random.Generator) -> Claim:
    """A copy with one entry moved, first a little and then more, until its gap is ten times wide.

    Of a dual vector only what its domain allows counts, and of a gate its own gauge, so the gap is
    at least what is found here. Entries that no size of move makes wrong are drawn again.
    """
    names = [name[2:] for name in claim.arrays if name.split(".")[-1] in KINDS[kind]]
    free = lower(claim, claim.part("generators")[:0])
    while True:
        name = rng.choice(names)
        place = tuple(rng.integers(size) for size in claim.part(name).shape)
        size = float(np.abs(claim.part(name)).mean()) or 1.0
        for by in rng.choice([-1.0, 1.0]) * size * 4.0 ** np.arange(-6, 10):
            copy = claim.moved(name, place, by)
            inside = name.startswith("network.")
            gates = copy.part("generators")[[place[0]] if name == "generators" else []]
            value = upper(copy) if inside else copy.step["certificate"]["upper"]
            proved = free if inside else lower(copy, gates)
            if value - proved > 10 * claim.gap():
                return copy


def verified(claim: Claim, path: Path) -> Result:
    """What the command says of the claim in a file whose checksum is right."""
    sealed.write(path, claim.header, claim.arrays)
    return RUNNER.invoke(app, ["verify", str(path), DATA, "--json"])


def test_the_untouched_model_is_accepted_and_its_bounds_are_true(saved: Path) -> None:
    claim = read(saved)
    certificate = claim.step["certificate"]
    assert upper(claim) == pytest.approx(certificate["upper"], rel=1e-10)
    assert lower(claim, claim.part("generators")) == pytest.approx(certificate["lower"], rel=1e-6)
    assert claim.gap() <= 1e-4 * certificate["upper"]
    assert RUNNER.invoke(app, ["verify", str(saved), DATA]).exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_copy_with_an_entry_moved_is_accepted(saved: Path, tmp_path: Path, kind: str) -> None:
    claim, rng = read(saved), np.random.default_rng(0)
    copies = (moved(claim, kind, rng) for _ in range(COPIES))
    codes = [verified(copy, tmp_path / "moved.cvxnn").exit_code for copy in copies]
    assert codes == [1] * COPIES


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"lower": 1.0}, "the dual vector proves"), ({"upper": 0.0}, "the network's objective is")],
)
def test_a_claim_beyond_its_proof_is_rejected(
    saved: Path, tmp_path: Path, change: dict[str, float], reason: str
) -> None:
    claim = read(saved)
    claim.step["certificate"].update(change)
    run = verified(claim, tmp_path / "boast.cvxnn")
    assert run.exit_code == 1
    assert reason in run.output


def test_all_networks_cannot_be_claimed_on_some_gates(saved: Path, tmp_path: Path) -> None:
    claim = read(saved)
    claim.step["certificate"]["scope"] = "ALL_NETWORKS"
    run = verified(claim, tmp_path / "boast.cvxnn")
    code, reason = {
        "gated": (2, "its certificate is not one of gated networks"),
        "relu": (1, "the gates are not all activation patterns of the data"),
    }[saved.stem]
    assert run.exit_code == code
    assert reason in run.output


def test_other_data_are_rejected(saved: Path, tmp_path: Path) -> None:
    X, labels = load_breast_cancer(return_X_y=True)
    y = np.where(labels == 1, "benign", "malignant")
    for rows, shift, code in ((569, 0.0, 0), (569, 1e-9, 1), (500, 0.0, 1)):
        np.savez(tmp_path / "other.npz", X=X[:rows] + shift, y=y[:rows])
        words = ["verify", str(saved), str(tmp_path / "other.npz"), "-t", "y", "--json"]
        run = RUNNER.invoke(app, words)
        assert run.exit_code == code, run.output
        assert ("not the data that the model was trained on" in run.output) is (code == 1)
