from benchmark_utils.tables import signs
from benchopt import BaseDataset

from cvxnn.experiments.loaders import data_folder, uci


class Dataset(BaseDataset):
    """One set of the UCI collection, its first class against the rest."""

    name = "UCI"
    parameters = {"table": ["heart-hungarian", "ionosphere", "pima", "planning", "yeast"]}

    def get_data(self):
        found = uci(data_folder())
        if found is None:
            missing = "set CVXNN_DATA to the folder that holds uci_classification.npz"
        elif self.table not in found:
            missing = f"uci_classification.npz has no set {self.table!r}"
        else:
            X, label = found[self.table]
            return {"X": X, "y": signs(label == label.min())}
        return {"X": None, "y": None, "missing": missing}
