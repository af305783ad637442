"""Noise of plain and doubly reparameterised gradients of the importance-weighted bound, in one dimension.

    python benchmarks/latent_dreg.py

z ~ N(0, 1), x | z ~ N(z, 1), x = 1, q = N(-0.5, e^0.6); the derivative is that by the mean of q (Tucker et
al. 2019, section 6.1, has the same comparison). The last line is JSON for the results table.
"""

import json
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.latent import IWAE, FactorisedGaussian, bound

X, MEAN, LOG_SCALE = 1.0, -0.5, 0.3
N_GRADIENTS, N_BLOCKS = 500_000, 50

Gradient = Literal["reparam", "dreg"]


class Normal(eqx.Module):
    """z ~ N(0, 1), x | z ~ N(z, 1); constants have no gradient."""

    def log_prior(self, z: jax.Array) -> jax.Array:
        """log N(z; 0, 1) without its constant."""
        return -0.5 * jnp.sum(z**2)

    def log_likelihood(self, x: jax.Array, z: jax.Array) -> jax.Array:
        """log N(x; z, 1) without its constant."""
        return -0.5 * jnp.sum((x - z) ** 2)

    def sample_prior(self, *, key: jax.Array) -> jax.Array:
        """One z."""
        return jax.random.normal(key, (1,))


class Moments(NamedTuple):
    """Mean of a derivative, the standard error of the mean, and mean over deviation with its own error."""

    mean: float
    error: float
    snr: float
    snr_error: float


def derivatives(k: int, gradient: Gradient) -> np.ndarray:
    """Independent ones by the mean of q, shape (N_GRADIENTS,)."""

    @jax.jit
    def block(keys: jax.Array) -> jax.Array:
        def value(mean: jax.Array, key: jax.Array) -> jax.Array:
            def encoder(x: jax.Array) -> FactorisedGaussian:
                return FactorisedGaussian(mean[None], jnp.array([LOG_SCALE]))

            x = jnp.array([[X]])
            return bound(Normal(), encoder, x, key=key, objective=IWAE(k), gradient=gradient)[0]

        return jax.vmap(jax.grad(value), in_axes=(None, 0))(jnp.asarray(MEAN), keys)

    seed = jax.random.key(2 * k + (gradient == "dreg"))
    keys = jax.random.split(seed, N_GRADIENTS).reshape(N_BLOCKS, -1)
    return np.concatenate([np.asarray(block(keys[i]), np.float64) for i in range(N_BLOCKS)])


def moments(values: np.ndarray) -> Moments:
    """Over all derivatives; the ratio's error is that between blocks of them."""
    blocks = values.reshape(N_BLOCKS, -1)
    ratios = blocks.mean(1) / blocks.std(1, ddof=1)
    deviation = values.std(ddof=1)
    return Moments(
        values.mean(),
        deviation / np.sqrt(len(values)),
        values.mean() / deviation,
        ratios.std(ddof=1) / np.sqrt(N_BLOCKS),
    )


def main() -> None:
    ratios, errors, told = {}, {}, []
    for k in (10, 100):
        plain, doubly = moments(derivatives(k, "reparam")), moments(derivatives(k, "dreg"))
        distance = abs(plain.mean - doubly.mean) / np.hypot(plain.error, doubly.error)
        assert distance <= 4, (
            f"k = {k}: the means {plain.mean} and {doubly.mean} are {distance:.1f} errors apart"
        )
        ratios[k] = doubly.snr / plain.snr
        errors[k] = ratios[k] * np.hypot(plain.snr_error / plain.snr, doubly.snr_error / doubly.snr)
        told.append(
            f"k = {k}: means {plain.mean:.5f} ({plain.error:.5f}) plain and {doubly.mean:.5f} "
            f"({doubly.error:.5f}), {distance:.1f} standard errors apart; mean over deviation "
            f"{plain.snr:.3f} and {doubly.snr:.3f}, ratio {ratios[k]:.1f} ({errors[k]:.1f})"
        )
        print(told[-1], flush=True)
    note = f"{N_GRADIENTS:,} derivatives each. {'. '.join(told)}."
    print(json.dumps({"latent.dreg": {"ours": ratios[10], "spread": errors[10], "note": note}}))


if __name__ == "__main__":
    main()
