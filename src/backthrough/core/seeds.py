"""The `random_state` of scikit-learn-style classes as a seed."""

from typing import Any

import numpy as np

from backthrough.core.checks import check_integer
from backthrough.core.errors import ArgumentError


def seed_of(random_state: Any) -> int:
    """A seed for JAX and NumPy from what scikit-learn calls a random state.

    Args:
        random_state: A whole number from 0, which is the seed; a `numpy.random.RandomState` or `Generator`,
            from which one is drawn; or None for a new one at every call.

    Raises:
        ArgumentError: if it is something else.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if not isinstance(random_state, (int, np.integer)):
        raise ArgumentError(
            f"random_state must be a seed, a RandomState, a Generator or None, got {random_state!r}"
        )
    return check_integer("random_state", random_state, minimum=0)
