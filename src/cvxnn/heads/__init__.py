"""Heads on frozen backbones."""

from cvxnn.heads.alternation import Alternation, alternate
from cvxnn.heads.head import ConvexHead

__all__ = ["Alternation", "ConvexHead", "alternate"]
