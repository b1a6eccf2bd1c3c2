"""The experiment on series: its files, the hash, the regimes and the errors."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cvxnn.experiments import series, time_series

pytestmark = pytest.mark.xdist_group("series")  # what is cached is computed once


@cache
def found() -> time_series.Findings:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CVXNN_DATA", raising=False)
        return time_series.measure()


# the files


def test_format_212_is_read(tmp_path: Path) -> None:
    levels = np.array([[0, 2047], [-2048, -1], [1024, 5], [1224, -300]])
    low, high = levels.T & 0xFFF
    packed = np.stack([low & 255, (low >> 8) | ((high >> 8) << 4), high & 255], axis=1)
    packed.astype(np.uint8).tofile(tmp_path / "208.dat")
    np.testing.assert_array_equal(series.read_212(tmp_path / "208.dat"), levels)
    one = series.ecg(tmp_path)
    assert one.values.tolist() == [(0 - 1024) / 200]  # every fourth value, in mV
    assert "208.dat" in one.source
    (tmp_path / "208.dat").write_bytes(b"1234")
    with pytest.raises(ValueError, match="4 bytes, which is no multiple of 3"):
        series.ecg(tmp_path)


def test_archives_and_tables_are_read(tmp_path: Path) -> None:
    with (tmp_path / "ecg.dat").open("wb") as file:
        np.savez(file, ecg=np.array([1024, 0, 0, 0, 1224], dtype=np.uint16))
    assert series.ecg(tmp_path).values.tolist() == [0.0, 1.0]
    (tmp_path / "ecg.dat").unlink()
    np.savez(tmp_path / "timeseries.npz", ecg_mitbih208=np.arange(5.0), nyc_taxi=[2000, 3000])
    assert series.ecg(tmp_path).values.tolist() == [0.0, 4.0]
    assert series.taxi(tmp_path).values.tolist() == [2.0, 3.0]
    (tmp_path / "nyc_taxi.csv").write_text("timestamp,value\n2014-07-01 00:00:00,10844\n")
    assert series.taxi(tmp_path).values.tolist() == [10.844]
    (tmp_path / "nyc_taxi.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column 'value'"):
        series.taxi(tmp_path)


def test_others_stand_in_with_a_notice(tmp_path: Path) -> None:
    np.savez(tmp_path / "timeseries.npz", other=np.zeros(3))
    for folder in (None, tmp_path):
        for load in (series.ecg, series.taxi):
            one = load(folder)
            assert "stand in" in one.source
            assert len(one.values) == 8000
            assert np.isfinite(one.values).all()


# the experiment


def test_gates_tell_windows_apart_with_the_probability_of_their_angle() -> None:
    for one in found().series:
        angles, differ = one.hash.angles, one.hash.differ
        deviation = np.sqrt(angles * (1 - angles) / time_series.BITS)
        assert (np.abs(differ - angles) <= 5 * deviation + 1e-9).all()
        assert angles.min() < 0.1 < 0.5 < angles.max()


def test_the_hash_counts_disagreeing_signs() -> None:
    windows = np.random.default_rng(0).standard_normal((40, 3))
    found = time_series.hashed(windows, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    first, second = windows[rng.integers(0, 40, (2, time_series.PAIRS))]
    rng.integers(0, 35, time_series.PAIRS // 3)
    gates = rng.standard_normal((time_series.BITS, 3))
    last = ((first[-1] @ gates.T >= 0) != (second[-1] @ gates.T >= 0)).mean()
    assert found.differ[-1] == last


def test_certified_forecasts_are_better_than_the_last_value_and_ridge() -> None:
    for one in found().series:
        by = time_series.errors(one)
        assert by["last value"] == [1.0]
        assert len(by["perceptron"]) == time_series.STARTS
        assert 0 < by["convex, 32 gates"][0] < by["ridge"][0] < 1
        for it in one.forecasts:
            assert (it.gap is None) == (not it.model.startswith("convex"))
            assert it.gap is None or 0 <= it.gap <= 1e-3


def test_regimes_cover_the_steps() -> None:
    for one in found().series:
        assert one.regimes <= 2**time_series.FEW
        assert one.shares.sum() == pytest.approx(1)
        assert (np.diff(one.shares) <= 0).all()
        assert len(one.stretch) == len(one.labels) == time_series.SHOWN
        assert set(one.labels.tolist()) <= set(range(one.regimes))
