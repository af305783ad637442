"""What every method of fitting weights gives back: draws of networks, and predictions from them."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, check_integer, check_key
from backthrough.natgrad.likelihoods import Likelihood

Model = TypeVar("Model")
Apply = Callable[[Any, Array], Float[Array, "out"]]
ROWS_AT_ONCE = 4096


def call_model(model: Any, x: Array) -> Array:
    """The model's outputs for one example."""
    return model(x)


@runtime_checkable
class WeightPosterior(Protocol[Model]):
    """A distribution over a network's weights.

    Attributes:
        mean: The network with the mean weights.
    """

    mean: Model

    def sample(self, *, key: PRNGKey) -> Model:
        """The network with weights drawn from the posterior."""
        ...


class Fitted(eqx.Module):
    """Posteriors of the weights and of the likelihood's own parameters, such as the noise.

    Attributes:
        weights: The weights' posterior.
        noise: The state of the likelihood, as its `draw` takes it.
        likelihood: What the outputs say of a target.
        apply: `apply(model, x)` gives the outputs for one example.
    """

    weights: WeightPosterior[Any]
    noise: PyTree
    likelihood: Likelihood
    apply: Apply = eqx.field(static=True, default=call_model)

    def draws(self, n_samples: int, *, key: PRNGKey) -> tuple[Any, PyTree]:
        """Networks and the likelihood's parameters, with a leading axis of `n_samples` draws."""
        weight_key, noise_key = jax.random.split(key)
        models = eqx.filter_vmap(lambda key: self.weights.sample(key=key))(
            jax.random.split(weight_key, n_samples)
        )
        parameters = jax.vmap(lambda key: self.likelihood.draw(self.noise, key=key))(
            jax.random.split(noise_key, n_samples)
        )
        return models, parameters

    def predict(self, x: Float[Array, "row ..."], *, n_samples: int = 100, key: PRNGKey) -> Any:
        """The predictive distribution of each row, from `n_samples` draws of the weights.

        Returns:
            What the likelihood makes of them: `GaussianPredictive` or `ClassPredictive`.
        """
        check_integer("n_samples", n_samples, minimum=1)
        check_key(key)
        models, parameters = self.draws(n_samples, key=key)
        return self.likelihood.predictive(outputs_of(models, x, self.apply), parameters)


class Draws(eqx.Module):
    """A finite number of networks, each with its own parameters of the likelihood: an ensemble, a chain.

    Attributes:
        models: Networks whose arrays have a leading axis.
        parameters: The likelihood's, with the same leading axis.
        likelihood: What the outputs say of a target.
        apply: `apply(model, x)` gives the outputs for one example.
        n_chains: Markov chains that they come from, one after another, each with as many.
    """

    models: Any
    parameters: PyTree
    likelihood: Likelihood
    apply: Apply = eqx.field(static=True, default=call_model)
    n_chains: int = eqx.field(static=True, default=1)

    @property
    def n_draws(self) -> int:
        """How many there are."""
        return jax.tree_util.tree_leaves(eqx.filter(self.models, eqx.is_array))[0].shape[0]

    def draws(self, n_samples: int | None = None, *, key: PRNGKey | None = None) -> tuple[Any, PyTree]:
        """All draws, or `n_samples` of them spread evenly, where there are more."""
        if n_samples is None or n_samples >= self.n_draws:
            return self.models, self.parameters
        which = jnp.linspace(0, self.n_draws - 1, n_samples).round().astype(int)
        arrays, static = eqx.partition(self.models, eqx.is_array)
        arrays, parameters = jax.tree_util.tree_map(lambda leaf: leaf[which], (arrays, self.parameters))
        return eqx.combine(arrays, static), parameters

    def predict(
        self, x: Float[Array, "row ..."], *, n_samples: int | None = None, key: PRNGKey | None = None
    ) -> Any:
        """The predictive distribution of each row, from all draws or `n_samples` of them."""
        if n_samples is not None:
            check_integer("n_samples", n_samples, minimum=1)
        models, parameters = self.draws(n_samples)
        return self.likelihood.predictive(outputs_of(models, x, self.apply), parameters)


@eqx.filter_jit
def outputs_of(models: Any, x: Float[Array, "row ..."], apply: Apply) -> Float[Array, "sample row out"]:
    """The outputs of networks with a leading axis of draws, for every row."""
    if x.ndim < 1 or not x.shape[0]:
        raise ArgumentError(f"x needs a leading axis of at least one row, got shape {x.shape}")
    arrays, static = eqx.partition(models, eqx.is_array)

    def row(x: Array) -> Float[Array, "sample out"]:
        return jax.vmap(lambda own: apply(eqx.combine(own, static), x))(arrays)

    if x.shape[0] <= ROWS_AT_ONCE:
        return jnp.swapaxes(jax.vmap(row)(x), 0, 1)
    return jnp.swapaxes(jax.lax.map(row, x, batch_size=ROWS_AT_ONCE), 0, 1)
