"""The ELBO of q_EW from both sides beside the bound that it tightens, image by image."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from backthrough.core import PRNGKey
from backthrough.latent import Encoder, ImplicitPosterior, LatentModel, TwoSided
from backthrough.train import ProgressBar

Values = Float[np.ndarray, "example"]


class BoundAndSides(NamedTuple):
    """Means over draws for each example, in nats; their expectations rise from left to right.

    Attributes:
        bound: L_k.
        lower: L[q_EW] from below.
        upper: L[q_EW] from above.
    """

    bound: Values
    lower: Values
    upper: Values


class Measured(NamedTuple):
    """What is known of each test image, in nats.

    Attributes:
        evidence: log p(x).
        coarser: The same with every second point of the grid a side.
        elbo: L[q].
        sides: L_k and L[q_EW].
        from_q: E log p(x | z) with z from q.
        from_q_ew: The same with z from q_EW.
    """

    evidence: Values
    coarser: Values
    elbo: Values
    sides: BoundAndSides
    from_q: Values
    from_q_ew: Values


def bound_and_sides(
    model: LatentModel,
    encoder: Encoder,
    x: Float[np.ndarray, "example *data"],
    *,
    k: int,
    n_draws: int,
    n_sets: int,
    key: PRNGKey,
) -> BoundAndSides:
    """L_k <= L[q_EW] from the same draws, so that the noise of their differences is small.

    With the set that a draw was chosen from as the only one, the lower estimate is that of L_k.
    """
    values = []
    with ProgressBar("q_EW", len(x)) as bar:
        for index, own_key in enumerate(jax.random.split(key, len(x))):
            keys = jax.random.split(own_key, n_draws)
            values.append(
                np.asarray(_of_one(model, encoder, jnp.asarray(x[index]), keys, k, n_sets), np.float64)
            )
            bar.update(index + 1)
    return BoundAndSides(*np.stack(values, axis=1))


@eqx.filter_jit
def two_sides(posterior: ImplicitPosterior, keys: Key[Array, "draw"], *, n_sets: int) -> TwoSided:
    """L[q_EW] from both sides, for each key."""
    return jax.vmap(lambda key: posterior.elbo(key=key, n_sets=n_sets))(keys)


@eqx.filter_jit
def _of_one(
    model: LatentModel, encoder: Encoder, x: Array, keys: Key[Array, "draw"], k: int, n_sets: int
) -> Array:
    own = ImplicitPosterior(model, encoder(x), x, k)
    bounds = jax.vmap(lambda key: own.elbo(key=key, n_sets=1).lower)(keys)
    sides = two_sides(own, keys, n_sets=n_sets)
    return jnp.stack([bounds, sides.lower, sides.upper]).mean(1)
