"""Lower bounds on log p(x): the ELBO and the importance-weighted bound."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_key, log_mean_exp
from backthrough.latent.protocols import Data, Encoder, LatentModel, Posterior

SAMPLES_AT_ONCE = 50  # keeps at most this many decoder outputs an example in memory


def log_weight(model: LatentModel, posterior: Posterior, x: Data, *, key: PRNGKey) -> Scalar:
    """log p(x, z) - log q(z | x) for one draw z of one example."""
    z, log_q = posterior.sample_and_log_prob(key=key)
    return model.log_prior(z) + model.log_likelihood(x, z) - log_q


def elbo(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    n_samples: int = 1,
) -> Float[Array, "batch"]:
    """The mean log-weight of each example, an unbiased estimate of E_q[log p(x, z) - log q(z | x)].

    Kingma and Welling 2014, eq. 2. Its gradient is the reparameterisation gradient.

    Args:
        model: p(x, z) for one example.
        encoder: Maps one example to q(z | x).
        x: Examples along the leading axis: an array, or a pytree of arrays such as `Observations`.
        key: Typed key.
        n_samples: Draws averaged over, at least 1.

    Returns:
        One value in nats for each example.

    Raises:
        ArgumentError: if `x` has no examples or `n_samples` is below 1.
    """
    return _over_samples(model, encoder, x, key, n_samples, jnp.mean)


def iwae(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    n_samples: int,
) -> Float[Array, "batch"]:
    """The log of the mean weight of each example: its mean is L_k <= L_(k+1) <= log p(x).

    Burda et al. 2015, eq. 8. With many samples this is an estimate of log p(x), biased down by about
    var(w / p(x)) / (2 k). Its gradient is that of eq. 14. Memory grows with `n_samples` only when a
    gradient is taken.

    Args:
        model: p(x, z) for one example.
        encoder: Maps one example to q(z | x).
        x: Examples along the leading axis: an array, or a pytree of arrays such as `Observations`.
        key: Typed key.
        n_samples: Draws k that the weights are averaged over, at least 1.

    Returns:
        One value in nats for each example.

    Raises:
        ArgumentError: if `x` has no examples or `n_samples` is below 1.
    """
    return _over_samples(model, encoder, x, key, n_samples, log_mean_exp)


def _over_samples(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    key: PRNGKey,
    n_samples: int,
    average: Callable[[Array], Scalar],
) -> Float[Array, "batch"]:
    """`average` of the log-weights of each example; only the weights of all draws are kept."""
    check_key(key)
    n_samples = check_integer("n_samples", n_samples, minimum=1)
    x = jax.tree_util.tree_map(jnp.asarray, x)
    lengths = {leaf.shape[0] for leaf in jax.tree_util.tree_leaves(x)}
    if len(lengths) > 1:
        raise ArgumentError(f"all arrays of x need as many examples, got {sorted(lengths)}")
    if not lengths or 0 in lengths:
        raise ArgumentError("x has no examples")

    def one(x: Data, key: PRNGKey) -> Scalar:
        posterior = encoder(x)

        def draw(key: PRNGKey) -> Scalar:
            return log_weight(model, posterior, x, key=key)

        keys = jax.random.split(key, n_samples)
        if n_samples <= SAMPLES_AT_ONCE:
            return average(jax.vmap(draw)(keys))
        return average(jax.lax.map(draw, keys, batch_size=SAMPLES_AT_ONCE))

    return jax.vmap(one)(x, jax.random.split(key, *lengths))
