"""How far two posteriors agree on where the network is uncertain."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, check_integer, check_key
from backthrough.natgrad.fitted import Draws, Fitted, outputs_of


class Agreement(NamedTuple):
    """Of the variances of a network's outputs under two posteriors.

    Attributes:
        correlation: Pearson's, over rows, for each output.
        ratio: The other's mean variance as a part of the reference's, for each output.
    """

    correlation: Float[np.ndarray, "out"]
    ratio: Float[np.ndarray, "out"]


def variance_correlation(
    reference: Fitted | Draws,
    other: Fitted | Draws,
    x: Float[Array, "row ..."],
    *,
    n_samples: int = 2000,
    key: PRNGKey,
) -> Agreement:
    """Compares where two posteriors are uncertain, as Zhang et al. 2018 do with Hamiltonian Monte Carlo.

    The variances are those over draws of the weights, without noise. Each is known from S draws to about
    sqrt(2 / S) of itself, which takes from the correlation.

    Args:
        reference: Such as what `NUTS` has found; see `r_hat` for whether it can be one.
        other: What is compared with it.
        x: Examples.
        n_samples: Draws of the weights from each; all there are, where there are fewer.
        key: Determines the draws.

    Raises:
        ArgumentError: for fewer than two examples, or a posterior with the same variance at all of them, such
            as that of one network.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from backthrough.natgrad import Gaussian
        >>> certain, unsure = (
        ...     Draws(jnp.array([-scale, scale]), jnp.ones((2, 1)), Gaussian(), lambda w, x: w * x)
        ...     for scale in (1.0, 3.0)
        ... )
        >>> found = variance_correlation(certain, unsure, jnp.array([[0.0], [1.0]]), key=jax.random.key(0))
        >>> found.correlation.round(4).tolist(), found.ratio.round(4).tolist()
        ([1.0], [9.0])
    """
    check_integer("n_samples", n_samples, minimum=1)
    check_key(key)
    if len(x) < 2:
        raise ArgumentError(f"x needs at least two examples to correlate over, got {len(x)}")
    first = _variances("reference", reference, x, n_samples, jax.random.fold_in(key, 0))
    second = _variances("other", other, x, n_samples, jax.random.fold_in(key, 1))
    deviations = first - first.mean(0), second - second.mean(0)
    covariance = np.mean(deviations[0] * deviations[1], axis=0)
    return Agreement(covariance / (first.std(0) * second.std(0)), second.mean(0) / first.mean(0))


def _variances(
    name: str, posterior: Fitted | Draws, x: Array, n_samples: int, key: PRNGKey
) -> Float[np.ndarray, "row out"]:
    models, _ = posterior.draws(n_samples, key=key)
    outputs = np.asarray(outputs_of(models, x, posterior.apply), np.float64)
    variances = np.var(outputs - outputs[0], axis=0)  # exactly 0 where all draws are the same
    if not (np.ptp(variances, axis=0) > 0).all():
        raise ArgumentError(f"{name} has the same variance at all examples: there is nothing to correlate")
    return variances
