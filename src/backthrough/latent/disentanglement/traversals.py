"""Walks along one latent at a time."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from backthrough.core import ArgumentError
from backthrough.latent.protocols import Latent

WALK = tuple(np.linspace(-2.5, 2.5, 12).tolist())


def traverse(
    decode: Callable[[Latent], Array],
    z: Float[Array, " latent"] | Float[np.ndarray, " latent"],
    *,
    latents: Sequence[int] | None = None,
    values: Sequence[float] | Shaped[np.ndarray, " step"] = WALK,
) -> Shaped[Array, "row step ..."]:
    """What a model makes of z while one latent at a time takes other values.

    Args:
        decode: Maps one z to what is to be seen, such as `model.mean` of a `BernoulliModel`.
        z: Where the walks cross, shape (latent,).
        latents: Which latents move, a row for each; all by default.
        values: What they are set to; -2.5 to 2.5 by default, for a prior N(0, 1).

    Returns:
        What `decode` returns, with axes of rows and steps before its own.

    Raises:
        ArgumentError: for a latent that there is not, or no values.

    Example:
        >>> import jax.numpy as jnp
        >>> traverse(lambda z: 10 * z, jnp.array([1.0, 2.0]), latents=[1], values=[0.0, 5.0]).tolist()
        [[[10.0, 0.0], [10.0, 50.0]]]
    """
    z = jnp.asarray(z)
    if z.ndim != 1:
        raise ArgumentError(f"z must have shape (latent,), got {z.shape}")
    latents = range(z.size) if latents is None else [int(latent) for latent in latents]
    wrong = [latent for latent in latents if not 0 <= latent < z.size]
    if wrong or not len(latents) or not len(values):
        what = (
            f"there is no latent {wrong[0]} of {z.size}" if wrong else "latents and values must not be empty"
        )
        raise ArgumentError(what)
    rows = jnp.stack([jnp.stack([z.at[latent].set(value) for value in values]) for latent in latents])
    return jax.vmap(jax.vmap(decode))(rows)
