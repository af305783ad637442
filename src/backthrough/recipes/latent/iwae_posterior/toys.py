"""Posteriors in the plane that no Gaussian fits, and the Gaussians that two bounds fit to them."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, Scalar
from backthrough.latent import ELBO, IWAE, FactorisedGaussian, bound

COPIES = 32  # of the one example, so that a step averages as many bounds


class Observed(eqx.Module):
    """z ~ N(0, I) in the plane and x ~ N(f(z), noise^2): the posterior lies along a level of f.

    Attributes:
        feature: Which f: 0 for z_2 - z_1^2, 1 for z_1 z_2, 2 for |z|; one program serves all.
        noise: Standard deviation of x.
    """

    feature: Int[Array, ""]
    noise: Scalar

    def log_prior(self, z: Float[Array, "2"]) -> Scalar:
        """log N(z; 0, I)."""
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x: Scalar, z: Float[Array, "2"]) -> Scalar:
        """log N(x; f(z), noise^2)."""
        length = jnp.sqrt(jnp.sum(z**2) + 1e-6)
        features = jnp.stack([z[1] - z[0] ** 2, z[0] * z[1], length])
        return jax.scipy.stats.norm.logpdf(x, features[self.feature], self.noise)

    def sample_prior(self, *, key: PRNGKey) -> Float[Array, "2"]:
        """One z from N(0, I)."""
        return jax.random.normal(key, (2,))


class Toy(NamedTuple):
    """A posterior in the plane.

    Attributes:
        feature: The model's.
        noise: The model's.
        x: What was observed.
    """

    feature: int
    noise: float
    x: float

    @property
    def model(self) -> Observed:
        """p(x, z)."""
        return Observed(jnp.asarray(self.feature), jnp.asarray(self.noise))


TOYS = {"banana": Toy(0, 0.2, -0.8), "two modes": Toy(1, 0.3, 1.2), "ring": Toy(2, 0.15, 1.5)}


@eqx.filter_jit
def fit_gaussian(
    model: Observed, x: Scalar, objective: ELBO | IWAE, *, n_steps: int, key: PRNGKey
) -> FactorisedGaussian:
    """The Gaussian that a bound fits to one posterior, by Adam.

    It starts off the middle: there the derivative of symmetric problems is zero.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(0.03, n_steps))
    start = FactorisedGaussian(jnp.array([0.5, 0.3]), jnp.full(2, -0.5))
    gradient = "stl" if isinstance(objective, ELBO) else "dreg"
    copies = jnp.full(COPIES, x)

    def step(state: tuple, key: PRNGKey) -> tuple[tuple, None]:
        posterior, memory = state

        def loss(posterior: FactorisedGaussian) -> Scalar:
            values = bound(
                model, lambda _: posterior, copies, key=key, objective=objective, gradient=gradient
            )
            return -values.mean()

        updates, memory = optimiser.update(jax.grad(loss)(posterior), memory)
        return (eqx.apply_updates(posterior, updates), memory), None

    keys = jax.random.split(key, n_steps)
    (posterior, _), _ = jax.lax.scan(
        step, (start, optimiser.init(eqx.filter(start, eqx.is_inexact_array))), keys
    )
    return posterior
