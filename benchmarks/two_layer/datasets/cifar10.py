from benchmark_utils.tables import signs
from benchopt import BaseDataset

from cvxnn.experiments.loaders import cifar10, data_folder


class Dataset(BaseDataset):
    """The first images of CIFAR-10 as pixels, animals against vehicles."""

    name = "CIFAR-10"
    parameters = {"samples": [1000]}

    def get_data(self):
        images = cifar10(data_folder())
        if images is None:
            missing = "set CVXNN_DATA to the folder that holds cifar-10-batches-bin"
            return {"X": None, "y": None, "missing": missing}
        X, label = images.X[: self.samples], images.y[: self.samples]
        animals = (label >= 2) & (label <= 7)
        return {"X": X.reshape(len(X), -1), "y": signs(animals)}
