"""What fills in hidden features of an input."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from backthrough.core import PRNGKey

Example = Float[Array, "..."]
Mask = Bool[Array, "..."]


@runtime_checkable
class Infiller(Protocol):
    """Draws what hidden features of ONE example might be, given those that are kept.

    Kept features come back bit by bit as they are, and hidden ones are never read (`check_infiller` tests
    both), so what is drawn is evidence of what is kept alone. One that knows what it was fitted to has also
    `check(x)`, which refuses other examples by name.
    """

    @property
    def conditional(self) -> bool:
        """Whether what is drawn for a given x depends on which features are kept.

        Where it does, gradients through relaxed masks are biased.
        """
        ...

    @property
    def leaks(self) -> bool:
        """Whether hidden features are read, as a blur does; `explain` says so in its result."""
        ...

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """Draws of the whole example.

        Args:
            x: One example, of any shape.
            mask: Of the same shape; True where a feature is kept.
            key: Typed key.
            n_samples: How many draws.

        Returns:
            Shape (n_samples, *x.shape), in the type of x.
        """
        ...


def keep(x: Example, mask: Mask, filled: Shaped[Array, "sample ..."]) -> Shaped[Array, "sample ..."]:
    """What every infiller ends with: kept features of x, the others as filled in, in the type of x."""
    return jnp.where(mask, x, filled.astype(x.dtype))


def hide(x: Example, mask: Mask) -> Example:
    """What every infiller that reads x begins with: zeros in place of hidden features, single precision."""
    return jnp.where(mask, x, 0).astype(jnp.promote_types(x.dtype, jnp.float32))


def repeat(filled: Shaped[Array, "..."], n_samples: int) -> Shaped[Array, "sample ..."]:
    """The draws of an infiller that has only one answer."""
    return jnp.broadcast_to(filled, (n_samples, *filled.shape))
