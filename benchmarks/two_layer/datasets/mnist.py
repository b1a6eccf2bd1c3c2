from benchmark_utils.tables import signs
from benchopt import BaseDataset

from cvxnn.experiments.loaders import data_folder, mnist


class Dataset(BaseDataset):
    """The first digits of MNIST as pixels, even against odd."""

    name = "MNIST"
    parameters = {"samples": [2000]}

    def get_data(self):
        images = mnist(data_folder())
        if images is None:
            missing = "set CVXNN_DATA to the folder that holds mnist.npz"
            return {"X": None, "y": None, "missing": missing}
        X, label = images.X[: self.samples], images.y[: self.samples]
        return {"X": X.reshape(len(X), -1), "y": signs(label % 2 == 0)}
