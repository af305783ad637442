"""Draws from the exact posterior by Hamiltonian Monte Carlo, as a reference for everything cheaper."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro import infer
from numpyro.diagnostics import split_gelman_rubin

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer
from backthrough.natgrad.fit import Problem
from backthrough.natgrad.fitted import Draws, outputs_of
from backthrough.natgrad.likelihoods import Gaussian
from backthrough.natgrad.noise import GammaNoise

FEWEST_DRAWS = 4  # of a chain, so that each half has a variance


class NUTS(eqx.Module):
    """The No-U-Turn sampler (Hoffman and Gelman 2014), many chains at once, by NumPyro.

    Every chain starts at weights of its own drawn from the prior, so that `r_hat` can tell whether they have
    come together; the model's own weights are of no meaning. The precision of a `GammaNoise` is sampled with
    the weights. Each draw of each chain costs up to 2**max_tree_depth gradients on all data.

    Attributes:
        n_chains: Chains.
        n_warmup: Steps of each chain that adapt step size and mass and are thrown away.
        n_samples: Draws of each chain that are kept.
        thinning: Steps from one draw that is kept to the next.
        max_tree_depth: A step makes at most 2**max_tree_depth leapfrog steps.
        target_accept: Mean acceptance probability that the step size is adapted to.

    Raises:
        ArgumentError: for a number out of range.
    """

    n_chains: int = eqx.field(static=True, default=4)
    n_warmup: int = eqx.field(static=True, default=500)
    n_samples: int = eqx.field(static=True, default=500)
    thinning: int = eqx.field(static=True, default=1)
    max_tree_depth: int = eqx.field(static=True, default=8)
    target_accept: float = eqx.field(static=True, default=0.8)

    def __check_init__(self) -> None:
        for name in ("n_chains", "n_warmup", "n_samples", "thinning", "max_tree_depth"):
            check_integer(name, getattr(self, name), minimum=1)
        if not 0 < self.target_accept < 1:
            raise ArgumentError(f"target_accept must lie between 0 and 1, got {self.target_accept!r}")

    def draws(self, problem: Problem, x: Array, y: Array, *, key: PRNGKey) -> Draws:
        """The draws of all chains, one chain after another."""
        if problem.kl_weight != 1:
            raise ArgumentError(
                f"NUTS draws from the posterior itself, so kl_weight must be 1, got {problem.kl_weight}"
            )
        start_key, run_key = jax.random.split(key)
        posterior = Posterior(problem)
        starts = jax.vmap(lambda key: posterior.start(key=key))(jax.random.split(start_key, self.n_chains))
        kernel = infer.NUTS(
            potential_fn=lambda position: -posterior.log_density(position, x, y),
            target_accept_prob=self.target_accept,
            max_tree_depth=self.max_tree_depth,
        )
        chains = infer.MCMC(
            kernel,
            num_warmup=self.n_warmup,
            num_samples=self.n_samples * self.thinning,
            thinning=self.thinning,
            num_chains=self.n_chains,
            chain_method="vectorized",
            progress_bar=False,
        )
        chains.run(run_key, init_params=starts if self.n_chains > 1 else starts[0])
        models, parameters = eqx.filter_vmap(posterior.read)(chains.get_samples())
        return Draws(models, parameters, problem.likelihood, problem.apply, n_chains=self.n_chains)


class Posterior:
    """The posterior density as a function of one vector: all weights, then the log-precisions of the noise.

    Args:
        problem: Model, likelihood and prior.
    """

    def __init__(self, problem: Problem):
        weights, self._static = eqx.partition(problem.model, eqx.is_inexact_array)
        flat, unravel = ravel_pytree(weights)
        self._problem = problem
        self._unravel: Callable[[Array], PyTree] = unravel
        self._n_weights = flat.size
        likelihood = problem.likelihood
        noise = likelihood.noise if isinstance(likelihood, Gaussian) else None
        self._noise = noise if isinstance(noise, GammaNoise) else None

    def start(self, *, key: PRNGKey) -> Float[Array, "entry"]:
        """Weights drawn from the prior, and the precision that learning starts from."""
        weights = jnp.sqrt(self._problem.prior_var) * jax.random.normal(key, (self._n_weights,))
        if self._noise is None:
            return weights
        size = self._problem.likelihood.n_outputs if self._noise.per_output else 1
        return jnp.concatenate([weights, jnp.full(size, jnp.log(self._noise.initial))])

    def read(self, position: Float[Array, "entry"]) -> tuple[PyTree, PyTree]:
        """The network and the likelihood's parameters."""
        likelihood = self._problem.likelihood
        model = eqx.combine(self._unravel(position[: self._n_weights]), self._static)
        if self._noise is None:
            return model, likelihood.draw(likelihood.init(), key=jax.random.key(0))
        precision = jnp.exp(position[self._n_weights :])
        return model, jnp.broadcast_to(precision, (likelihood.n_outputs,))

    def log_density(self, position: Float[Array, "entry"], x: Array, y: Array) -> Scalar:
        """log p(y, position | x), nats, up to a constant."""
        problem = self._problem
        model, parameters = self.read(position)
        outputs = jax.vmap(lambda x: problem.apply(model, x))(x)
        likelihood = jax.vmap(lambda out, y: problem.likelihood.log_prob(out, y, parameters))(outputs, y)
        weights, log_precision = position[: self._n_weights], position[self._n_weights :]
        prior = -jnp.sum(jnp.square(weights)) / (2 * problem.prior_var)
        if self._noise is not None:  # of the log-precision: the Gamma density times the precision
            gamma = self._noise.shape * log_precision - self._noise.rate * jnp.exp(log_precision)
            prior = prior + jnp.sum(gamma)
        return jnp.sum(likelihood) + prior


def r_hat(draws: Draws, x: Float[Array, "row ..."]) -> Float[np.ndarray, "row out"]:
    """Split R-hat of the network's outputs: near 1 where all halves of all chains agree.

    That of the weights would say little, since hidden units can change places. Gelman et al. 2013, sec. 11.4;
    values below 1.05 are usually taken for agreement.

    Args:
        draws: What `NUTS` has found.
        x: Examples at which the outputs are compared.

    Raises:
        ArgumentError: for draws of fewer than four a chain.
    """
    n_samples = draws.n_draws // draws.n_chains
    if n_samples < FEWEST_DRAWS:
        raise ArgumentError(f"r_hat needs at least {FEWEST_DRAWS} draws of each chain, got {n_samples}")
    outputs = np.asarray(outputs_of(draws.models, x, draws.apply), np.float64)
    return split_gelman_rubin(outputs.reshape(draws.n_chains, n_samples, *outputs.shape[1:]))
