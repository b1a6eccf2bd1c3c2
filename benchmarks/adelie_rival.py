"""A path of group lassos by adelie, in the environment that it needs: run by `gated_paths.py`."""

import sys
import time

import adelie
import numpy as np


def main(source: str, target: str) -> None:
    """Read the problem, solve its path at every tolerance, write coefficients and CPU seconds."""
    given = np.load(source)
    X, masks, y = (np.asfortranarray(given[name]) for name in ("X", "masks", "y"))
    d = X.shape[1]
    matrix = adelie.matrix.convex_relu(X, masks.astype(bool, order="F"), gated=True)
    held = {}
    for k, tol in enumerate(given["tols"]):
        begin = time.process_time()
        state = adelie.grpnet(
            X=matrix,
            glm=adelie.glm.gaussian(y=y),
            groups=np.arange(0, d * masks.shape[1], d),
            penalty=np.ones(masks.shape[1]),
            lmda_path=given["alphas"],
            tol=float(tol),
            adev_tol=1.0,
            early_exit=False,
            intercept=False,
            progress_bar=False,
        )
        held[f"seconds{k}"] = time.process_time() - begin
        held[f"alphas{k}"] = np.array(state.lmdas)
        held[f"blocks{k}"] = np.asarray(state.betas.todense()).reshape(len(state.lmdas), -1, d)
    np.savez(target, **held)


if __name__ == "__main__":
    main(*sys.argv[1:])
