"""The posterior that the importance-weighted bound implies (Cremer, Morris and Duvenaud 2017).

Weights of k draws from q make a better posterior than q is. With w(z) = p(x, z) / q(z | x) and companions
z_2 ... z_k from q, the unnormalised

    q~(z | z_2 ... z_k) = p(x, z) / W,    W = (w(z) + w(z_2) + ... + w(z_k)) / k

has an expectation over the companions that is a density, q_EW(z | x): that of drawing k from q and choosing
one of them by its weight. For k = 1 it is q, and as k grows the true posterior. The importance-weighted bound
L_k lies below its ELBO: L_k <= L[q_EW] <= log p(x).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_key, log_mean_exp
from backthrough.latent.bounds import check_exact_density, log_joint
from backthrough.latent.protocols import Data, Latent, LatentModel, Posterior


class TwoSided(NamedTuple):
    """Two estimates between whose expectations a number lies.

    Attributes:
        lower: Its expectation is no larger than the number.
        upper: Its expectation is no smaller.
    """

    lower: Scalar
    upper: Scalar


class ImplicitPosterior(eqx.Module):
    """q_EW(z | x) of one example.

    Attributes:
        model: p(x, z).
        posterior: q(z | x), an encoder's output.
        x: The example.
        k: How many draws are weighed against each other.
    """

    model: LatentModel
    posterior: Posterior
    x: Data
    k: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_integer("k of ImplicitPosterior", self.k, minimum=1)
        check_exact_density("ImplicitPosterior", self.posterior)

    def sample(self, *, key: PRNGKey) -> Latent:
        """One draw, by sampling-importance-resampling: one of k draws from q, chosen by its weight.

        It has no gradient: the choice is not differentiable.
        """
        return self._draw(key)[0]

    def log_prob(self, z: Latent, *, key: PRNGKey, n_sets: int = 100) -> Scalar:
        """An estimate of log q_EW(z | x), biased down, from `n_sets` sets of companions.

        Raises:
            ArgumentError: if q has no `log_prob`.
        """
        check_key(key)
        n_sets = check_integer("n_sets", n_sets, minimum=1)
        density: Any = getattr(self.posterior, "log_prob", None)
        if density is None:
            name = type(self.posterior).__name__
            raise ArgumentError(f"log_prob of ImplicitPosterior needs that of q, and {name} has none")
        joint = log_joint(self.model, self.x, z)
        means = self._mean_weights(joint - density(z), key, n_sets)
        return joint + log_mean_exp(-means)

    def elbo(self, *, key: PRNGKey, n_sets: int = 100) -> TwoSided:
        """L[q_EW] from both sides, for one draw; average over keys.

        The density of a draw is estimated from sets of companions. If the set that it was chosen from is one
        of them, what is found is too low on average, and rises with `n_sets` from L_k; if all of them are
        fresh it is too high, and may be above log p(x).
        """
        check_key(key)
        n_sets = check_integer("n_sets", n_sets, minimum=1)
        draw_key, sets_key = jax.random.split(key)
        _, log_weight, own = self._draw(draw_key)
        fresh = self._mean_weights(log_weight, sets_key, n_sets)
        lower = -log_mean_exp(-jnp.append(own, fresh[1:]))
        return TwoSided(lower, -log_mean_exp(-fresh))

    def reconstruct(self, mean: Callable[[Latent], Array], *, key: PRNGKey, n_samples: int = 1) -> Array:
        """The average of `mean(z)`, such as E[x | z], over draws."""
        check_key(key)
        n_samples = check_integer("n_samples", n_samples, minimum=1)
        draws = jax.vmap(lambda key: mean(self.sample(key=key)))(jax.random.split(key, n_samples))
        return jnp.mean(draws, axis=0)

    def _weigh(self, key: PRNGKey) -> tuple[Latent, Scalar]:
        """A draw from q and the logarithm of its weight."""
        z, log_q = self.posterior.sample_and_log_prob(key=key)
        return z, log_joint(self.model, self.x, z) - log_q

    def _draw(self, key: PRNGKey) -> tuple[Latent, Scalar, Scalar]:
        """A draw, the logarithm of its weight, and that of the mean weight of the set it was chosen from."""
        draw_key, choice_key = jax.random.split(key)
        zs, log_weights = jax.vmap(self._weigh)(jax.random.split(draw_key, self.k))
        chosen = jax.random.categorical(choice_key, log_weights)
        return zs[chosen], log_weights[chosen], log_mean_exp(log_weights)

    def _mean_weights(self, log_weight: Scalar, key: PRNGKey, n_sets: int) -> Float[Array, "set"]:
        """The logarithms of W for a point of this weight, each with fresh companions."""

        def one(key: PRNGKey) -> Scalar:
            if self.k == 1:
                return log_weight
            others = jax.vmap(self._weigh)(jax.random.split(key, self.k - 1))[1]
            return log_mean_exp(jnp.append(others, log_weight))

        return jax.lax.map(one, jax.random.split(key, n_sets))
