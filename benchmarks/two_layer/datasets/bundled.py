from benchmark_utils.tables import BUNDLED
from benchopt import BaseDataset


class Dataset(BaseDataset):
    """Tables that come with scikit-learn."""

    name = "scikit-learn"
    parameters = {"table": ["breast_cancer", "diabetes", "digits"]}

    def get_data(self):
        X, y = BUNDLED[self.table]()
        return {"X": X, "y": y}
