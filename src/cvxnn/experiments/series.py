"""Series, from the public sources' own files under CVXNN_DATA, or made up to resemble them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cvxnn.experiments.descent import Floats

ZERO, GAIN = 1024, 200.0
"""Of the MIT-BIH recorder: the level of no voltage, and levels a millivolt."""


class Recorded(NamedTuple):
    """A series in equal steps."""

    name: str
    values: Floats
    unit: str
    source: str
    """One sentence: where it is from, with a notice where another stands in for it."""


def ecg(folder: Path | None, seed: int = 0) -> Recorded:
    """Return an electrocardiogram at 90 Hz: record 208 of MIT-BIH where it is found [Moody2001].

    Read are `208.dat`, the archive's own format 212 with two channels; `ecg.dat`, as scipy gives
    it; and `timeseries.npz` with `ecg_mitbih208`. Every fourth value is taken.
    """
    found = None if folder is None else _found_ecg(folder)
    if found is not None:
        values, file = found
        return Recorded("ECG", values[::4], "mV", f"MIT-BIH record 208, {file}")
    return Recorded(
        "ECG",
        beats(np.random.default_rng(seed)),
        "mV",
        "MIT-BIH record 208 was not found (set CVXNN_DATA to the folder that holds 208.dat): "
        "made-up beats stand in for it",
    )


def taxi(folder: Path | None, seed: int = 0) -> Recorded:
    """Return New York's taxi passengers per half hour, in thousands [Ahmad2017].

    Read are `nyc_taxi.csv`, with a column `value`, and `timeseries.npz` with `nyc_taxi`.
    """
    for file in ("nyc_taxi.csv", "timeseries.npz"):
        path = None if folder is None else folder / file
        if path is None or not path.is_file():
            continue
        values = read_column(path, "value") if path.suffix == ".csv" else archived(path, "nyc_taxi")
        if values is not None:
            return Recorded("Taxi", values / 1000, "thousand passengers", f"NYC taxi, {file}")
    return Recorded(
        "Taxi",
        days(np.random.default_rng(seed)),
        "thousand passengers",
        "NYC taxi was not found (set CVXNN_DATA to the folder that holds nyc_taxi.csv): made-up "
        "days stand in for it",
    )


def _found_ecg(folder: Path) -> tuple[Floats, str] | None:
    if (folder / "208.dat").is_file():
        return (read_212(folder / "208.dat")[:, 0] - ZERO) / GAIN, "208.dat"
    if (folder / "ecg.dat").is_file():
        raw = archived(folder / "ecg.dat", "ecg")
        if raw is not None:
            return (raw - ZERO) / GAIN, "ecg.dat"
    if (folder / "timeseries.npz").is_file():
        values = archived(folder / "timeseries.npz", "ecg_mitbih208")
        return None if values is None else (values, "timeseries.npz")
    return None


def archived(path: Path, name: str) -> Floats | None:
    """Return an array of a NumPy archive, or None where it has none of that name."""
    with np.load(path, allow_pickle=False) as archive:
        return archive[name].astype(np.float64) if name in archive else None


def read_column(path: Path, name: str) -> Floats:
    """Return a column of numbers of a CSV file with a header; ValueError where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[0].split(",") if lines else []
    if name not in header:
        raise ValueError(f"{path} has no column {name!r}; its first line should name the columns")
    place = header.index(name)
    return np.array([float(line.split(",")[place]) for line in lines[1:] if line])


def read_212(path: Path) -> Floats:
    """Return the levels (n, 2) of two channels in format 212: 12 bits each, two in three bytes.

    ValueError for a file that is cut off.
    """
    raw = np.fromfile(path, dtype=np.uint8).astype(np.int64)
    if raw.size == 0 or raw.size % 3:
        raise ValueError(f"{path} has {raw.size} bytes, which is no multiple of 3; fetch it again")
    low, middle, high = raw.reshape(-1, 3).T
    levels = np.stack([low + ((middle & 15) << 8), high + ((middle >> 4) << 8)], axis=1)
    return np.where(levels >= 2048, levels - 4096, levels).astype(np.float64)


def beats(rng: np.random.Generator, n: int = 8000, rate: float = 90.0) -> Floats:
    """Return beats of three kinds of wave at a frequency that wanders, with noise."""
    tempo = 1.2 + 0.15 * np.sin(np.arange(n) / 700) + 0.05 * rng.standard_normal(n).cumsum() / 40
    phase = (np.cumsum(tempo) / rate) % 1.0
    waves = ((0.2, 0.15, 0.03), (0.37, -0.2, 0.012), (0.4, 1.6, 0.014), (0.43, -0.4, 0.014),
             (0.65, 0.35, 0.05))  # fmt: skip
    total = sum(h * np.exp(-((phase - at) ** 2) / (2 * w**2)) for at, h, w in waves)
    return np.asarray(total + 0.03 * rng.standard_normal(n))


def days(rng: np.random.Generator, n: int = 8000) -> Floats:
    """Return counts per half hour that have a morning, an evening and weekends."""
    hour, day = (np.arange(n) % 48) / 2, (np.arange(n) // 48) % 7
    late = np.where(day >= 5, 2.0, 0.0)
    shape = 4 + 11 / (1 + np.exp(-(hour - 6.5 - late) * 1.5))
    shape = shape + 7 * np.exp(-((hour - 19 - late / 2) ** 2) / 8)
    drift = np.zeros(n)
    noise = rng.standard_normal(n)
    for t in range(1, n):
        drift[t] = 0.9 * drift[t - 1] + 0.35 * noise[t]
    return np.asarray(shape - 9 / (1 + np.exp(-(hour - 23) * 2)) + drift)
