"""How many of the many random problems a run takes: all with EVERY=1 in the environment."""

import os


def share(few: int) -> int:
    """The step between the problems that are taken: `few`, or 1 for all of them."""
    return 1 if os.environ.get("EVERY") == "1" else few


def numbers(count: int, few: int = 20) -> range:
    """Those of `count` problems that are taken."""
    return range(0, count, share(few))
