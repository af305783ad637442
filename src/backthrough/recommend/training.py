"""Fits the parameters of chains to ratings, each predicted from the others."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from backthrough.core import PRNGKey, Scalar
from backthrough.recommend.evidence import Evidence
from backthrough.recommend.network import ChainNetwork, ends
from backthrough.recommend.published import PublishedNetwork
from backthrough.recommend.targets import draw_split
from backthrough.train import Run, fit, moving_average, schedule

AVERAGE = 0.96
LARGEST_GRADIENT = 1.0
N_SPLITS = 8  # in which the fitted network's error is measured


class Task(NamedTuple):
    """What stays on the device: the ratings, and which nodes the prototypes are."""

    evidence: Evidence
    user_prototypes: Int[Array, " user_prototype"]
    item_prototypes: Int[Array, " item_prototype"]


class WholeBatch:
    """All ratings in every step."""

    def __init__(self, data: Task):
        self.data = data

    def identity(self) -> dict[str, Any]:
        """How many there are, and their sum."""
        evidence = self.data.evidence
        return {"n_ratings": len(evidence.rating), "sum": float(evidence.rating.sum())}

    def n_rows(self) -> int:
        """One, which is not cut."""
        return 1

    def inputs(self, step: int, rows: slice) -> np.ndarray:
        """Nothing."""
        return np.zeros(1, np.float32)

    def fetch(self, data: Task, inputs: Array) -> Task:
        """All of it."""
        return data


Network = ChainNetwork | PublishedNetwork


class Trained(NamedTuple):
    """A fitted network, and the root of its mean squared error in ratings that were left out of evidence."""

    network: Network
    error: float


class State(NamedTuple):
    """Network and optimiser."""

    network: Network
    optimiser: optax.OptState


def train(
    network: Network,
    task: Task,
    *,
    n_steps: int,
    learning_rate: float,
    weight_decay: float,
    cold_start: float,
    key: PRNGKey,
    run: Run | None = None,
) -> Trained:
    """The network whose predictions of ratings from others have the least squared error.

    Args:
        network: To begin with.
        task: The ratings.
        n_steps: Steps of AdamW, each with all ratings.
        learning_rate: The largest; it falls along half a cosine.
        weight_decay: Of AdamW, but for the shrinkage.
        cold_start: Part of users, and of items, to which a step leaves few ratings.
        key: Determines the splits.
        run: Where metrics and checkpoints go.
    """
    rate = schedule("cosine", learning_rate, n_steps=n_steps, warm_up=min(20, n_steps // 2))
    optimiser = optax.chain(
        optax.clip_by_global_norm(LARGEST_GRADIENT),
        optax.adamw(rate, weight_decay=weight_decay, mask=lambda tree: jax.tree_util.tree_map(_decays, tree)),
    )

    def step(state: State, task: Task, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        split = draw_split(task.evidence, cold_start=cold_start, key=key)

        def loss(network: Network) -> Scalar:
            return squared_error(network, task, split.weight, split.target, split.counts)

        error, gradients = eqx.filter_value_and_grad(loss)(state.network)
        parameters = eqx.filter(state.network, eqx.is_inexact_array)
        updates, memory = optimiser.update(gradients, state.optimiser, parameters)
        return State(eqx.apply_updates(state.network, updates), memory), {"RMSE of targets": jnp.sqrt(error)}

    start = State(network, optimiser.init(eqx.filter(network, eqx.is_inexact_array)))
    averaged = moving_average(step, lambda state: state.network, decay=AVERAGE)
    fitted = fit(
        averaged,
        averaged.start(start),
        WholeBatch(task),
        n_steps=n_steps,
        key=key,
        run=run,
        label="evidence chains",
    )
    network = fitted.state.average
    keys = jax.random.split(jax.random.fold_in(key, 1), N_SPLITS)
    errors = [float(_error_of_split(network, task, own)) for own in keys]
    return Trained(network, float(np.sqrt(np.mean(errors))))


@eqx.filter_jit
def _error_of_split(network: Network, task: Task, key: PRNGKey) -> Scalar:
    split = draw_split(task.evidence, cold_start=0.0, key=key)
    return squared_error(network, task, split.weight, split.target, split.counts)


def squared_error(network: Network, task: Task, weight: Array, target: Array, counts: Array) -> Scalar:
    """The mean squared error of targets that count, from the ratings that have weight."""
    evidence = task.evidence
    shown = eqx.tree_at(lambda own: own.weight, evidence, weight)
    vectors = network.vectors(shown, task.user_prototypes, task.item_prototypes)
    found = network.rate(
        ends(vectors, evidence.user[target], of="user"), ends(vectors, evidence.item[target], of="item")
    )
    errors = counts * jnp.square(found - evidence.rating[target])
    return errors.sum() / jnp.maximum(counts.sum(), 1)


def _decays(leaf: Any) -> bool:
    return jnp.ndim(leaf) > 0  # not the shrinkage
