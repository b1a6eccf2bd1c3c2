"""Gates: fixed 0/1 rules on inputs, drawn or enumerated on the host in float64 NumPy."""

from cvxnn.gates.base import Gates, distinct, masks_of
from cvxnn.gates.borders import reached, reached_masks
from cvxnn.gates.enumerate import cover_count, enumerate_patterns
from cvxnn.gates.faces import Faces
from cvxnn.gates.filters import PatchGates, Winners
from cvxnn.gates.margin import widest
from cvxnn.gates.mixes import Mixes, passed
from cvxnn.gates.pairs import Pairs, opened
from cvxnn.gates.sample import gaussian
from cvxnn.gates.search import Search
from cvxnn.gates.source import HalfSpaces, NoGates, Searching, Source, searching
from cvxnn.gates.subnetworks import SubNetworks
from cvxnn.gates.trained import from_generators, from_weights

__all__ = [
    "Faces",
    "Gates",
    "HalfSpaces",
    "Mixes",
    "NoGates",
    "Pairs",
    "PatchGates",
    "Search",
    "Searching",
    "Source",
    "SubNetworks",
    "Winners",
    "cover_count",
    "distinct",
    "enumerate_patterns",
    "from_generators",
    "from_weights",
    "gaussian",
    "masks_of",
    "opened",
    "passed",
    "reached",
    "reached_masks",
    "searching",
    "widest",
]
