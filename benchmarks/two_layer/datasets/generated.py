from benchmark_utils.tables import teacher
from benchopt import BaseDataset


class Dataset(BaseDataset):
    """Correlated Gaussian samples and a noisy ReLU teacher; d counts the column of ones."""

    name = "generated"
    parameters = {"n": [1000], "d": [5, 50], "seed": [0]}
    test_config = {"n": 40, "d": 4}

    def get_data(self):
        X, y = teacher(self.n, self.d, self.seed)
        return {"X": X, "y": y}
