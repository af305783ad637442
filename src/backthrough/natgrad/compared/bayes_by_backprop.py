"""Factorised Gaussian weights, trained by reparameterised gradients (Blundell et al. 2015)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.core import PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.natgrad.compared.adam import outputs_with, train_with_adam, with_weights
from backthrough.natgrad.fit import Problem, Training


class MeanAndLogScale(NamedTuple):
    """Of each weight.

    Attributes:
        mean: Means.
        log_scale: Logarithms of standard deviations.
    """

    mean: PyTree
    log_scale: PyTree

    def sample(self, *, key: PRNGKey) -> PyTree:
        """Weights, differentiable in both: mean + scale * noise."""
        leaves, structure = jax.tree_util.tree_flatten(self.mean)
        keys = jax.tree_util.tree_unflatten(structure, list(jax.random.split(key, len(leaves))))
        return jax.tree_util.tree_map(
            lambda mean, log_scale, key: (
                mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape, mean.dtype)
            ),
            self.mean,
            self.log_scale,
            keys,
        )

    def kl(self, prior_var: float) -> Scalar:
        """KL divergence from the prior N(0, prior_var), nats."""

        def of_leaf(mean: Array, log_scale: Array) -> Scalar:
            relative = (jnp.square(mean) + jnp.exp(2 * log_scale)) / prior_var
            return 0.5 * jnp.sum(relative - 1 - 2 * log_scale + jnp.log(prior_var))

        each = jax.tree_util.tree_map(of_leaf, self.mean, self.log_scale)
        return jnp.asarray(sum(jax.tree_util.tree_leaves(each)))


class FactorisedGaussian(eqx.Module):
    """Independent Gaussian weights.

    Attributes:
        mean: The network with the mean weights.
        log_scale: Logarithms of the weights' standard deviations, None where the network has no weights.
        prior_var: Variance of the prior around 0.
    """

    mean: Any
    log_scale: PyTree
    prior_var: float = eqx.field(static=True)

    def sample(self, *, key: PRNGKey) -> Any:
        """The network with weights drawn anew."""
        weights, rest = eqx.partition(self.mean, eqx.is_inexact_array)
        return eqx.combine(MeanAndLogScale(weights, self.log_scale).sample(key=key), rest)

    def kl(self) -> Scalar:
        """KL divergence from the prior, nats."""
        weights = eqx.filter(self.mean, eqx.is_inexact_array)
        return MeanAndLogScale(weights, self.log_scale).kl(self.prior_var)


class BayesByBackprop(eqx.Module):
    """Variational inference with a factorised Gaussian by Adam (Blundell et al. 2015, "Bayes by Backprop").

    Each draw of the weights is shared by a whole minibatch, and the KL divergence from the Gaussian prior is
    in closed form. The means start at the model's weights.

    Attributes:
        learning_rate: The largest; it falls along half a cosine to a hundredth.
        n_samples: Draws of the weights at each step.
        initial_scale: Standard deviation of every weight that training starts from.

    Raises:
        ArgumentError: for a number out of range.
    """

    learning_rate: float = eqx.field(static=True, default=1e-2)
    n_samples: int = eqx.field(static=True, default=10)
    initial_scale: float = eqx.field(static=True, default=0.05)

    def __check_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)
        check_integer("n_samples", self.n_samples, minimum=1)
        check_positive("initial_scale", self.initial_scale)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains; `finish` gives a `Fitted` whose weights are a `FactorisedGaussian`."""

        def start(weights: PyTree) -> MeanAndLogScale:
            log_scale = jnp.log(self.initial_scale)
            return MeanAndLogScale(
                weights, jax.tree_util.tree_map(lambda w: jnp.full_like(w, log_scale), weights)
            )

        def outputs(q: MeanAndLogScale, x: Array, *, key: PRNGKey) -> Array:
            keys = jax.random.split(key, self.n_samples)
            return jax.vmap(lambda key: outputs_with(problem, q.sample(key=key), x))(keys)

        def posterior(q: MeanAndLogScale) -> FactorisedGaussian:
            return FactorisedGaussian(with_weights(problem, q.mean), q.log_scale, problem.prior_var)

        return train_with_adam(
            problem,
            n_steps,
            self.learning_rate,
            start=start,
            outputs=outputs,
            divergence=lambda q: q.kl(problem.prior_var),
            posterior=posterior,
        )
