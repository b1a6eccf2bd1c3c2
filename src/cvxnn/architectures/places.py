"""What a sample is: a row of a table, an image, or a sequence; and how each becomes a row."""

from dataclasses import replace
from typing import Any

from cvxnn.architectures.attention import Attention
from cvxnn.architectures.circular import Circular
from cvxnn.architectures.conv import ConvGated, ConvReLU
from cvxnn.architectures.deep_conv import DeepConvGated, DeepConvReLU
from cvxnn.architectures.mixer import Mixer
from cvxnn.patches import as_table
from cvxnn.tokens import as_sequences, stacked

SEQUENTIAL = Attention | Mixer
"""Architectures of heads, whose samples are sequences."""


def in_places(architecture: Any) -> bool:
    """Tell whether columns have places beside each other, so that directions of X will not do."""
    return isinstance(architecture, Circular | SEQUENTIAL) or images_of(architecture) is not None


def images_of(architecture: Any) -> tuple[int, ...] | None:
    """Return the shape of the images that an architecture takes, None for others."""
    if isinstance(architecture, ConvReLU | ConvGated | DeepConvReLU | DeepConvGated):
        return tuple(architecture.shape)
    return None


def shape_of(architecture: Any) -> tuple[int, ...] | None:
    """Return the shape of the images or sequences that an architecture takes, None for tables."""
    if isinstance(architecture, SEQUENTIAL) and architecture.shape is not None:
        return tuple(architecture.shape)
    return images_of(architecture)


def as_rows(architecture: Any, X: Any) -> Any:
    """Return images or sequences as rows of a table, and tables as they are."""
    if isinstance(architecture, SEQUENTIAL):
        return as_sequences(stacked(X), architecture.shape)
    return as_table(X, images_of(architecture))


def shaped(architecture: Any, X: Any) -> Any:
    """Return the architecture, with the shape of sequences (n, tokens, width) if it has none."""
    if not isinstance(architecture, SEQUENTIAL) or architecture.shape is not None:
        return architecture
    found = getattr(stacked(X), "shape", ())
    if len(found) != 3:
        return architecture
    return replace(architecture, shape=tuple(int(one) for one in found[1:]))
