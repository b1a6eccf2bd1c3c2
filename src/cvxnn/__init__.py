"""Two-layer and deeper neural networks, trained by convex optimisation with a certificate."""

__version__ = "0.1.0"
