"""Run by adelie's own Python: reads a problem, then solves and saves as it is told line by line."""

import sys
import time

import adelie
import numpy as np


def main(source: str) -> None:
    """Answer every line on standard output: `ready`, `solve TOL` or `save PATH`."""
    given = np.load(source)
    X, masks, y = (np.asfortranarray(given[name]) for name in ("X", "masks", "y"))
    d = X.shape[1]
    matrix = adelie.matrix.convex_relu(X, masks.astype(bool, order="F"), gated=True)
    state = None
    for line in sys.stdin:
        order, _, value = line.strip().partition(" ")
        answer = "yes"
        if order == "solve":
            begin = time.process_time()
            state = adelie.grpnet(
                X=matrix,
                glm=adelie.glm.gaussian(y=y),
                groups=np.arange(0, d * masks.shape[1], d),
                penalty=np.ones(masks.shape[1]),
                lmda_path=given["alphas"],
                tol=float(value),
                adev_tol=1.0,
                early_exit=False,
                intercept=False,
                progress_bar=False,
            )
            answer = repr(time.process_time() - begin)
        elif order == "save":
            np.savez(value, alphas=np.array(state.lmdas), blocks=state.betas.toarray())
        print(answer, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
