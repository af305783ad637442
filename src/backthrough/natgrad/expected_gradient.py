"""The gradient of the expected log-likelihood, and the Fisher information, under draws of the weights."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_choice
from backthrough.natgrad.blocks import Blocks
from backthrough.natgrad.fitted import Apply, call_model
from backthrough.natgrad.likelihoods import Likelihood
from backthrough.natgrad.taps import Seen, check_rows, pull_back
from backthrough.natgrad.transformation import Curvature

Fisher = Literal["exact", "mc", "empirical"]
FISHERS = ("exact", "mc", "empirical")


class ExpectedGradient(NamedTuple):
    """What a minibatch says under draws of the weights.

    Attributes:
        loss: Minus the mean log-likelihood of an example, nats.
        gradient: The loss's gradient, the mean over draws and examples, for `update`.
        curvature: For `update`'s argument of that name.
        outputs: The networks' outputs.
    """

    loss: Scalar
    gradient: PyTree
    curvature: Curvature
    outputs: Float[Array, "sample row out"]


def expected_gradient(
    models: Any,
    blocks: Blocks,
    likelihood: Likelihood,
    parameters: PyTree,
    x: Float[Array, "row ..."],
    y: Array,
    *,
    key: PRNGKey,
    fisher: Fisher = "exact",
    apply: Apply = call_model,
) -> ExpectedGradient:
    """The gradient at draws of the weights, and what the Fisher information needs.

    Args:
        models: Networks whose arrays have a leading axis of draws.
        blocks: Of the network, from `find_blocks`.
        likelihood: What the outputs say of a target.
        parameters: The likelihood's, with the same leading axis.
        x: Examples.
        y: Targets.
        key: Determines the targets that the "mc" Fisher information draws.
        fisher: "exact" takes the expectation over the targets that the model itself predicts, by as many
            backward passes as the outputs' Fisher information has factors; "mc" draws one target for each
            example; "empirical" takes the targets that were observed, which is another matrix and has no such
            justification (Kunstner et al. 2019), but costs no further backward pass.
        apply: `apply(model, x)` gives the outputs for one example.

    Raises:
        ArgumentError: for an unknown kind of Fisher information, an empty batch, or targets of another
            number.
    """
    check_choice("fisher", fisher, FISHERS)
    check_rows(x)
    if len(x) != len(y):
        raise ArgumentError(f"there are {len(x)} examples and {len(y)} targets")
    arrays, static = eqx.partition(models, eqx.is_array)

    def one(arrays: PyTree, parameters: PyTree, key: PRNGKey) -> Any:
        model = eqx.combine(arrays, static)
        outputs, pull = pull_back(model, blocks, x, apply=apply)
        log_prob = jax.vmap(likelihood.log_prob, (0, 0, None))
        score = jax.vmap(jax.grad(likelihood.log_prob), (0, 0, None))
        gradient, seen = pull(-score(outputs, y, parameters))
        if fisher == "mc":
            keys = jax.random.split(key, len(x))
            drawn = jax.vmap(lambda out, key: likelihood.sample(out, parameters, key=key))(outputs, keys)
            seen = pull(score(outputs, drawn, parameters))[1]
        elif fisher == "exact":
            factors = jax.vmap(likelihood.fisher_factors, (0, None))(outputs, parameters)
            seen = _exact(pull, jnp.swapaxes(factors, 0, 1))
        return -jnp.mean(log_prob(outputs, y, parameters)), gradient, seen, outputs

    n_samples = jax.tree_util.tree_leaves(arrays)[0].shape[0]
    loss, gradient, seen, outputs = jax.vmap(one)(arrays, parameters, jax.random.split(key, n_samples))
    weights = eqx.filter(arrays, eqx.is_inexact_array)
    loss, gradient, weights = jax.tree_util.tree_map(
        lambda own: jnp.mean(own, axis=0), (loss, gradient, weights)
    )
    return ExpectedGradient(loss, gradient, Curvature(seen.map(_merge_axes), weights), outputs)


def _exact(pull: Any, factors: Float[Array, "factor row out"]) -> Seen:
    """What is seen of each factor's gradient, scaled so that the mean over rows is that over examples."""
    n_factors = len(factors)
    if n_factors == 1:
        return pull(factors[0])[1]
    seen = jax.vmap(lambda factor: pull(factor)[1])(factors)
    return seen.map(_merge_axes).scaled(n_factors**0.5)


def _merge_axes(array: Array) -> Array:
    return array.reshape(-1, *array.shape[2:])
