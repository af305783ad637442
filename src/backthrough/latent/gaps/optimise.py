"""The best posterior of a family for each example, found without an encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.flows import has_estimated_log_det
from backthrough.latent.bounds import ELBO, Gradient, bound_of_one
from backthrough.latent.chunks import map_in_chunks
from backthrough.latent.gaps.examples import Example, Inference, first_posterior, prepare
from backthrough.latent.local import check_arrays
from backthrough.latent.protocols import Data, Encoder, LatentModel

WINDOWS = 20  # after each of them the posterior is compared with the best one so far
COMPARING_SAMPLES = 200


@dataclass(frozen=True)
class Optimisation:
    """How posteriors are optimised, by Adam with a rate that falls to zero along half a cosine.

    Attributes:
        n_steps: Steps, at least 20.
        n_samples: Draws in the ELBO of a step.
        learning_rate: The largest, that of the first step.
    """

    n_steps: int = 800
    n_samples: int = 8
    learning_rate: float = 0.03

    def __post_init__(self) -> None:
        check_integer("n_steps of Optimisation", self.n_steps, minimum=WINDOWS)
        check_integer("n_samples of Optimisation", self.n_samples, minimum=1)
        check_positive("learning_rate of Optimisation", self.learning_rate)


class Optimised(NamedTuple):
    """Posteriors, one for each example, and how they came about.

    Attributes:
        posteriors: The best found; their arrays have a leading axis of examples.
        path: The ELBO of the best so far, before the first step and after each twentieth part of them, all on
            the same draws. Being the best on these, the last is a little too high; estimate it anew.
    """

    posteriors: Any
    path: Float[np.ndarray, "example window"]


def optimise_posteriors(
    model: LatentModel,
    q: Encoder | PyTree,
    x: Data,
    *,
    key: PRNGKey,
    optimisation: Optimisation | None = None,
    at_once: int = 100,
    keep: Path | None = None,
) -> Optimised:
    """Maximises the ELBO of each example by itself, over the parameters of its own posterior.

    It starts from q and returns the best that was seen, so it ends no lower than it began. Where q has an
    exact density the gradient is "stl", whose noise vanishes as q becomes the true posterior; else "reparam".

    Args:
        model: p(x, z) for one example, differentiable in z.
        q: Where to start: an encoder, or posteriors such as `local_posteriors` makes. Their family is the one
            that is searched.
        x: Examples along the leading axis.
        key: Typed key; the result does not depend on `at_once`.
        optimisation: `Optimisation()` by default.
        at_once: Examples at once; memory grows with it.
        keep: A folder for finished chunks, from which a stopped call goes on.

    Raises:
        ArgumentError: for a wrong argument, a network in training mode, or a posterior without arrays.
        DataError: if data are not finite or have no likelihood.
    """
    optimisation = Optimisation() if optimisation is None else optimisation
    inference, examples = prepare(model, q, x, key)
    posterior = first_posterior(inference, examples)
    check_arrays(posterior)
    has_density = hasattr(posterior, "log_prob") and not has_estimated_log_det(posterior)
    shared = (model, inference, optimisation, "stl" if has_density else "reparam")
    arrays, path = map_in_chunks(
        _optimise, shared, examples, at_once=at_once, label="optimising q", keep=keep
    )
    rest = eqx.filter(posterior, eqx.is_array, inverse=True)
    return Optimised(eqx.combine(jax.tree_util.tree_map(jnp.asarray, arrays), rest), path)


def _optimise(
    shared: tuple[LatentModel, Inference, Optimisation, Gradient], examples: Example
) -> tuple[PyTree, Float[Array, "example window"]]:
    model, inference, optimisation, gradient = shared
    rate = optax.cosine_decay_schedule(optimisation.learning_rate, optimisation.n_steps)
    optimiser = optax.adam(rate)

    def one(example: Example) -> tuple[PyTree, Array]:
        start, rest = eqx.partition(inference.posterior(example), eqx.is_inexact_array)
        steps_key, compare_key = jax.random.split(example.key)

        def value(arrays: PyTree, key: PRNGKey, n_samples: int, gradient: Gradient) -> Scalar:
            posterior: Any = eqx.combine(arrays, rest)
            objective = ELBO(n_samples)
            return bound_of_one(model, posterior, example.x, key=key, objective=objective, gradient=gradient)

        def step(carry: tuple[PyTree, Any], key: PRNGKey) -> tuple[tuple[PyTree, Any], None]:
            arrays, memory = carry
            gradients = jax.grad(lambda own: -value(own, key, optimisation.n_samples, gradient))(arrays)
            updates, memory = optimiser.update(gradients, memory)
            return (optax.apply_updates(arrays, updates), memory), None

        def window(carry: tuple, keys: Array) -> tuple[tuple, Scalar]:
            at, best, best_value = carry
            at, _ = jax.lax.scan(step, at, keys)
            found = value(at[0], compare_key, COMPARING_SAMPLES, "reparam")
            is_better = found > best_value
            best = jax.tree_util.tree_map(lambda new, old: jnp.where(is_better, new, old), at[0], best)
            best_value = jnp.where(is_better, found, best_value)
            return (at, best, best_value), best_value

        first = value(start, compare_key, COMPARING_SAMPLES, "reparam")
        n_in_window = -(-optimisation.n_steps // WINDOWS)
        keys = jax.random.split(steps_key, (WINDOWS, n_in_window))
        (_, best, _), path = jax.lax.scan(window, ((start, optimiser.init(start)), start, first), keys)
        best = eqx.combine(best, eqx.filter(rest, eqx.is_array))  # permutations of a flow are integers
        return best, jnp.concatenate([first[None], path])

    return jax.vmap(one)(examples)
