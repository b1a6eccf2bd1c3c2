"""The experiments of the literature, repeated: `reproduce("worked-example")`."""

from collections.abc import Callable
from pathlib import Path

from cvxnn.experiments import (
    attention_transfer,
    batch_norm,
    cifar_binary,
    cifar_classes,
    cifar_conv,
    cnn_synthetic,
    cnn_three,
    final_layer,
    gan_faces,
    layerwise,
    low_rank,
    margin,
    polynomial,
    quantised,
    regularisation_path,
    student,
    student_explode,
    student_images,
    threshold,
    time_series,
    toy_descent,
    uci_profile,
    vector_output,
    wasserstein_direction,
    worked_example,
)
from cvxnn.experiments.figures import require_matplotlib
from cvxnn.experiments.result import Result, Table

EXPERIMENTS: dict[str, Callable[[bool, int, Path], Result]] = {
    worked_example.NAME: worked_example.run,
    toy_descent.NAME: toy_descent.run,
    cifar_binary.NAME: cifar_binary.run,
    cifar_conv.NAME: cifar_conv.run,
    cifar_classes.NAME: cifar_classes.run,
    final_layer.NAME: final_layer.run,
    attention_transfer.NAME: attention_transfer.run,
    student.FIRST.name: student.first,
    student.SECOND.name: student.second,
    student_images.NAME: student_images.run,
    student_explode.NAME: student_explode.run,
    regularisation_path.NAME: regularisation_path.run,
    cnn_synthetic.NAME: cnn_synthetic.run,
    cnn_three.NAME: cnn_three.run,
    layerwise.NAME: layerwise.run,
    gan_faces.NAME: gan_faces.run,
    low_rank.NAME: low_rank.run,
    uci_profile.NAME: uci_profile.run,
    margin.NAME: margin.run,
    time_series.NAME: time_series.run,
    batch_norm.NAME: batch_norm.run,
    vector_output.NAME: vector_output.run,
    polynomial.NAME: polynomial.run,
    threshold.NAME: threshold.run,
    quantised.NAME: quantised.run,
    wasserstein_direction.NAME: wasserstein_direction.run,
}
"""Name and function (full, seed, folder) of each."""

NAMES = tuple(EXPERIMENTS)

__all__ = ["EXPERIMENTS", "NAMES", "Result", "Table", "reproduce"]


def reproduce(
    name: str, full: bool = False, seed: int = 0, out: str | Path | None = None
) -> Result:
    """Run an experiment; write its figure and its numbers into `out`, by default outputs/NAME.

    Small by default, at the source's size if `full`. ValueError for an unknown name,
    UnsupportedError where matplotlib is not installed; both before any work.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = reproduce("student-1", out=folder)
    >>> [path.name for path in result.files], result.table.rows[0][:3]
    (['student-1.json', 'student-1.png'], ('convex program', '4', '0.552877'))
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; there are {', '.join(NAMES)}")
    require_matplotlib()
    folder = Path("outputs") / name if out is None else Path(out)
    return EXPERIMENTS[name](full, seed, folder)
