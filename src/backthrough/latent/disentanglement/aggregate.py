"""log q(z) and log q(z_j), where q(z) is the mixture of all posteriors: from a minibatch, or from all.

Every estimator is a matrix of weights, log q(z_i) ~ log sum_j W_ij q(z_i | n_j), and the same for each
coordinate. What is often got wrong is which weights: W is added once, after the sum over coordinates in the
joint density, and the weight of the example that z_i was drawn from stands on the diagonal.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.latent.gaussian import HALF_LOG_2PI, FactorisedGaussian

ESTIMATORS = ("mws", "mss", "loo", "in-batch", "full")
UNBIASED = ("mss", "loo")

BatchEstimator = Literal["mws", "mss", "loo", "in-batch"]
Estimator = BatchEstimator | Literal["full"]


class LogAggregate(NamedTuple):
    """Densities of the aggregate posterior at some draws.

    Attributes:
        joint: log q(z), shape (draw,).
        marginals: log q(z_j), shape (draw, latent).
    """

    joint: Float[Array, " draw"]
    marginals: Float[Array, "draw latent"]


def log_aggregate(
    z: Float[Array, "draw latent"],
    posteriors: FactorisedGaussian,
    *,
    estimator: Estimator,
    n_data: int | None = None,
) -> LogAggregate:
    """log q(z) and log q(z_j) at draws z, differentiable in all that they depend on.

    One coordinate is worked through at a time, so that memory is that of a matrix (draw, example) also where
    a gradient is taken.

    Args:
        z: Draws; z[i] is one of posterior i, but for "full", where there may be any number from anywhere.
        posteriors: Of a batch drawn without replacement, or for "full" of all examples: arrays with a
            leading axis of examples, as `jax.vmap(encoder)(x)` returns them.
        estimator: Of Chen et al. (2018): "mws" (their minibatch-weighted sampling, sec. 4) and "mss"
            (minibatch-stratified, app. C.2); "loo", the average of "mss" over the order of the batch;
            "in-batch", the mixture of the batch; "full", the mixture of all.
        n_data: Examples in the whole data set; needed for "mws", "mss" and "loo".

    Raises:
        ArgumentError: for an estimator of another name, shapes that do not fit, an `n_data` that is missing
            or smaller than the batch, or a batch of one for "mss" and "loo".
    """
    if not isinstance(posteriors, FactorisedGaussian):
        raise ArgumentError(
            f"posteriors must be a FactorisedGaussian of arrays, got {type(posteriors).__name__} "
            "(tc_decomposition takes Codes)"
        )
    mean, log_scale = jnp.asarray(posteriors.mean), jnp.asarray(posteriors.log_scale)
    z = jnp.asarray(z)
    if z.ndim != 2 or mean.ndim != 2 or z.shape[1] != mean.shape[1]:
        raise ArgumentError(
            "z must have shape (draw, latent) and posteriors (example, latent), got "
            f"{z.shape} and {mean.shape}"
        )
    log_weights = _log_weights(estimator, len(z), len(mean), n_data)
    dtype = jnp.promote_types(jnp.result_type(z, mean, log_scale), jnp.float32)
    z, mean, log_scale = z.astype(dtype), mean.astype(dtype), log_scale.astype(dtype)
    log_weights = jnp.asarray(log_weights, dtype)

    @jax.checkpoint
    def of_latent(joint: Array, rows: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        z, mean, log_scale = rows
        log_q = log_density(z[:, None] - mean, log_scale)
        return joint + log_q, jax.nn.logsumexp(log_weights + log_q, axis=1)

    nothing = jnp.zeros((len(z), len(mean)), dtype)
    joint, marginals = jax.lax.scan(of_latent, nothing, (z.T, mean.T, log_scale.T))
    return LogAggregate(jax.nn.logsumexp(log_weights + joint, axis=1), marginals.T)


def log_density(difference: Float[Array, "..."], log_scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """log N(difference; 0, exp(log_scale)**2), entry by entry."""
    return -0.5 * jnp.square(difference * jnp.exp(-log_scale)) - log_scale - HALF_LOG_2PI


def _log_weights(estimator: Estimator, n_draws: int, n: int, n_data: int | None) -> np.ndarray:
    """log W, of a shape that broadcasts to (draw, example)."""
    check_choice("estimator", estimator, ESTIMATORS)
    if estimator == "full":
        return np.array(-math.log(n))
    if n_draws != n:
        raise ArgumentError(
            f'estimator="{estimator}" needs one draw of each posterior, got {n_draws} draws and {n} of them'
        )
    if estimator == "in-batch":
        return np.array(-math.log(n))
    if n_data is None:
        raise ArgumentError(f'estimator="{estimator}" needs n_data, the number of examples in the data set')
    n_data = check_integer("n_data", n_data, minimum=1)
    if n_data < n:
        raise ArgumentError(f"n_data={n_data} is smaller than the batch of {n}")
    if estimator == "mws":
        return np.array(-math.log(n_data * n))
    if n < 2:
        raise ArgumentError(f'estimator="{estimator}" needs a batch of at least 2 examples, got {n}')
    if estimator == "loo":
        weights = np.full((n, n), (n_data - 1) / (n_data * (n - 1)))
    else:
        weights = np.full((n, n), 1 / (n - 1))
        rows = np.arange(n)
        weights[rows, (rows + 1) % n] = (n_data - n + 1) / (n_data * (n - 1))
    np.fill_diagonal(weights, 1 / n_data)
    return np.log(weights)
