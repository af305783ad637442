"""Posteriors of single examples, free of any encoder: what an encoder could at best have said."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key
from backthrough.latent.bounds import ELBO, IWAE, Gradient, bound_of_one, check_objective
from backthrough.latent.protocols import Data, Encoder, LatentModel, Posterior
from backthrough.train import n_examples


def local_posteriors(encoder: Encoder, x: Data) -> Any:
    """The encoder's posterior of every example, as arrays of their own to be optimised.

    A flow's bijection is copied for each example too. To start from scratch, let the encoder be a function
    that returns the same posterior for every x.

    Args:
        encoder: Maps one example to q(z | x), an Equinox module or another pytree of arrays.
        x: Examples along the leading axis: an array, or a pytree of arrays such as `Observations`.

    Returns:
        One posterior whose arrays have a leading axis of examples; `jax.tree_util.tree_map` with `leaf[i]`
        over `equinox.filter(posteriors, equinox.is_array)` takes one out.

    Raises:
        ArgumentError: if `x` has no examples, or the posterior has no arrays.
    """
    x = jax.tree_util.tree_map(jnp.asarray, x)
    n_examples("x", x)
    posteriors = eqx.filter_vmap(encoder)(x)
    check_arrays(posteriors)
    return posteriors


def local_bound(
    model: LatentModel,
    posteriors: PyTree,
    x: Data,
    *,
    key: PRNGKey,
    objective: ELBO | IWAE,
    gradient: Gradient = "reparam",
) -> Float[Array, "batch"]:
    """`bound` with a posterior for each example in place of an encoder; same key, same numbers.

    Args:
        model: p(x, z) for one example.
        posteriors: As from `local_posteriors`: arrays with a leading axis of examples.
        x: As many examples along the leading axis.
        key: Typed key.
        objective: `ELBO(...)` or `IWAE(k)`.
        gradient: "reparam", "stl" or "dreg", as in `bound`.

    Returns:
        One value in nats for each example. The gradient of their sum with respect to `posteriors` holds that
        of each one.

    Raises:
        ArgumentError: if posteriors and examples differ in number, or as `bound` does.
    """
    check_key(key)
    check_objective(objective, gradient)
    x = jax.tree_util.tree_map(jnp.asarray, x)
    n = n_examples("x", x)
    arrays, rest = eqx.partition(posteriors, eqx.is_array)
    check_arrays(posteriors)
    if n_examples("posteriors", arrays) != n:
        raise ArgumentError(
            f"posteriors are of {n_examples('posteriors', arrays)} examples, and x has {n}; "
            "local_posteriors(encoder, x) makes one for each"
        )

    def one(arrays: PyTree, x: Data, key: PRNGKey) -> Scalar:
        posterior: Posterior = eqx.combine(arrays, rest)
        return bound_of_one(model, posterior, x, key=key, objective=objective, gradient=gradient)

    return jax.vmap(one)(arrays, x, jax.random.split(key, n))


def check_arrays(posteriors: PyTree) -> None:
    """Refuses a posterior that is no pytree: it would be shared by all examples, or not be optimised at all.

    Raises:
        ArgumentError: saying what to make it.
    """
    if not jax.tree_util.tree_leaves(eqx.filter(posteriors, eqx.is_inexact_array)):
        raise ArgumentError(
            f"{type(posteriors).__name__} shows no arrays to optimise: make the posterior an Equinox module"
        )
