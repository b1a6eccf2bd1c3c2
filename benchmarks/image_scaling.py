"""How time and peak memory of networks of images grow from 2,000 to 20,000 of Fashion-MNIST.

Each size is a fresh process, so that its peak is its own. What is called predicted is the largest
number of bytes that the fit asked `memory.require` for, before it took them.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from cvxnn import ConvexClassifier, ConvGated, LayerwiseClassifier, Stage, memory, stagewise
from cvxnn.experiments.loaders import data_folder, fashion_mnist

SIZES = (2000, 20_000)


def resident(field: str) -> int:
    """Return bytes of this process alone."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def images(n: int) -> tuple[Any, Any]:
    """Return pixels from 0 to 1, (n, 1, 28, 28), and labels; random ones where there is no data."""
    found = fashion_mnist(data_folder())
    if found is None:
        rng = np.random.default_rng(0)
        return rng.random((n, 1, 28, 28), dtype=np.float32), rng.integers(10, size=n)
    return found.X[:n, None].astype(np.float32) / np.float32(255), found.y[:n]


def model_of(kind: str) -> Any:
    """Return what is fitted: the same work a sample at every size."""
    if kind == "layerwise":
        return LayerwiseClassifier([Stage(kernel=5, n_gates=24)], alpha=0.1, random_state=0)
    shape = ConvGated(shape=(1, 28, 28), kernel=5, stride=2, cells=2)
    words: dict[str, Any] = {"loss": "squared", "n_gates": 16, "max_iter": 10}
    return ConvexClassifier(shape, alpha=1e-3, random_state=0, **words)


def measure(kind: str, n: int) -> dict[str, float]:
    """Return CPU seconds, the peak above what was there before, and what was asked for."""
    asked: list[int] = []
    before = memory.require

    def require(needed: int, *rest: Any, **words: Any) -> None:
        asked.append(needed)
        before(needed, *rest, **words)

    model_of(kind).fit(*images(200))  # libraries load on first use
    memory.require = stagewise.require = require  # type: ignore[assignment]
    X, y = images(n)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak of making X is none of the fit's
    there, begin = resident("VmRSS"), time.process_time()
    model_of(kind).fit(X, y)
    seconds = time.process_time() - begin
    return {
        "seconds": seconds,
        "peak": float(resident("VmHWM") - there),
        "predicted": float(max(asked, default=0)),
    }


def main() -> None:
    """Print a line a size and the ratio of times; or measure one size, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "N"))
    parser.add_argument("--sizes", nargs=2, type=int, default=SIZES, metavar="N")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], int(given.one[1]))))
        return
    for kind in ("conv_gated", "layerwise"):
        times = []
        for n in given.sizes:
            command = [sys.executable, "-W", "ignore", __file__, "--one", kind, str(n)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(run.stdout)
            times.append(found["seconds"])
            asked, peak = found["predicted"], found["peak"]
            share = f"{peak / asked:.2f}" if asked else "nothing was asked for"
            print(
                f"{kind:<10} n = {n:>6}: {found['seconds']:7.1f} s, peak {peak / 2**20:7.0f} MiB, "
                f"predicted {asked / 2**20:7.0f} MiB, peak over predicted {share}"
            )
        print(f"{kind:<10} {given.sizes[1] / given.sizes[0]:g} times the images take "
              f"{times[1] / times[0]:.1f} times as long")  # fmt: skip


if __name__ == "__main__":
    main()
