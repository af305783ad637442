"""The best posterior of a family for each example, found without an encoder."""

from dataclasses import dataclass
from functools import partial
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
from backthrough.latent.gaps.examples import (
    Example,
    Inference,
    check_not_nan,
    first_posterior,
    over_examples,
    prepare,
)
from backthrough.latent.local import check_arrays
from backthrough.latent.protocols import Data, Encoder, LatentModel

WINDOWS = 20  # after each of them the posterior is compared with the best one so far
LARGEST_FALL = 1.0  # nats below it from which on the search goes back
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


class Search(NamedTuple):
    """Where the search for one example is: arrays, optimiser, the share of the rate, and the best so far."""

    arrays: PyTree
    memory: Any
    share: Scalar
    best: PyTree
    best_value: Scalar


class Optimised(NamedTuple):
    """Posteriors, one for each example, and how they came about.

    Attributes:
        posteriors: The best found; their arrays have a leading axis of examples.
        path: The ELBO before the first step and after each twentieth part of them, all on the same draws. The
            posterior is that with the largest, which is a little too high, being chosen: estimate it anew.
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
    keep: Path | str | None = None,
) -> Optimised:
    """Maximises the ELBO of each example by itself, over the parameters of its own posterior.

    It starts from q and returns the best that was seen, so it ends no lower than it began. Where it has
    fallen by more than a nat it goes back to the best with a third of the rate. Where q has an exact density
    the gradient is "stl", whose noise vanishes as q becomes the true posterior; else "reparam".

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
    settings = (optimisation, "stl" if has_density else "reparam")
    options = {"label": "optimising q", "at_once": at_once, "keep": keep}
    arrays, path = over_examples(_optimise, model, inference, settings, examples, **options)
    check_not_nan(np.isnan(path[:, 0]))
    rest = eqx.filter(posterior, eqx.is_array, inverse=True)
    return Optimised(eqx.combine(jax.tree_util.tree_map(jnp.asarray, arrays), rest), path)


def _optimise(
    model: LatentModel, inference: Inference, settings: tuple[Optimisation, Gradient], example: Example
) -> tuple[PyTree, Float[Array, "window"]]:
    optimisation, gradient = settings
    schedule = optax.cosine_decay_schedule(optimisation.learning_rate, optimisation.n_steps)
    optimiser = optax.scale_by_adam()
    start, rest = eqx.partition(inference.posterior(example), eqx.is_inexact_array)
    steps_key, compare_key = jax.random.split(example.key)

    def value(arrays: PyTree, key: PRNGKey, n_samples: int, gradient: Gradient) -> Scalar:
        posterior: Any = eqx.combine(arrays, rest)
        objective = ELBO(n_samples)
        return bound_of_one(model, posterior, example.x, key=key, objective=objective, gradient=gradient)

    def step(
        share: Scalar, carry: tuple[PyTree, Any], row: tuple[PRNGKey, Array]
    ) -> tuple[tuple[PyTree, Any], None]:
        (arrays, memory), (key, index) = carry, row
        gradients = jax.grad(lambda own: value(own, key, optimisation.n_samples, gradient))(arrays)
        updates, memory = optimiser.update(gradients, memory)
        rate = share * schedule(index)
        updates = jax.tree_util.tree_map(lambda own: (rate * own).astype(own.dtype), updates)
        return (optax.apply_updates(arrays, updates), memory), None

    def window(carry: Search, rows: tuple[Array, Array]) -> tuple[Search, Scalar]:
        now = (carry.arrays, carry.memory)
        (arrays, memory), _ = jax.lax.scan(partial(step, carry.share), now, rows)
        found = value(arrays, compare_key, COMPARING_SAMPLES, "reparam")
        is_better, is_lost = found > carry.best_value, ~(found > carry.best_value - LARGEST_FALL)
        best = _where(is_better, arrays, carry.best)
        best_value = jnp.where(is_better, found, carry.best_value)
        arrays, memory = _where(is_lost, (best, optimiser.init(start)), (arrays, memory))
        share = jnp.where(is_lost, carry.share / 3, carry.share)
        return Search(arrays, memory, share, best, best_value), found

    first = value(start, compare_key, COMPARING_SAMPLES, "reparam")
    search = Search(start, optimiser.init(start), jnp.ones(()), start, first)
    n_in_window = -(-optimisation.n_steps // WINDOWS)
    keys = jax.random.split(steps_key, (WINDOWS, n_in_window))
    indices = jnp.arange(WINDOWS * n_in_window).reshape(WINDOWS, n_in_window)
    search, path = jax.lax.scan(window, search, (keys, indices))
    posterior = eqx.combine(search.best, rest)
    return eqx.filter(posterior, eqx.is_array), jnp.concatenate([first[None], path])


def _where(condition: Array, a: PyTree, b: PyTree) -> PyTree:
    """a or b, leaf by leaf."""
    return jax.tree_util.tree_map(lambda x, y: jnp.where(condition, x, y), a, b)
