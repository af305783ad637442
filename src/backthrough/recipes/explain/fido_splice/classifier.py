"""A small classifier of splice junctions."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, Scalar
from backthrough.recipes.explain.fido_splice.junctions import LENGTH, LETTERS, Junctions
from backthrough.train import Batches, Run, fit, mean_over_shards, schedule

WIDTH, DROPPED = 64, 0.5
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 64, 2e-3, 1e-2


class SpliceClassifier(eqx.Module):
    """One hidden layer on all letters.

    Attributes:
        hidden: From fractions of letters.
        head: To the three logits.
        dropout: Between them; none in inference mode.

    Examples:
        >>> model = eqx.nn.inference_mode(SpliceClassifier(key=jax.random.key(0)))
        >>> model(jnp.zeros((60, 4))).shape
        (3,)
    """

    hidden: eqx.nn.Linear
    head: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, *, key: PRNGKey):
        hidden_key, head_key = jax.random.split(key)
        self.hidden = eqx.nn.Linear(LENGTH * len(LETTERS), WIDTH, key=hidden_key)
        self.head = eqx.nn.Linear(WIDTH, 3, key=head_key)
        self.dropout = eqx.nn.Dropout(DROPPED)

    def __call__(self, letters: Float[Array, "60 4"], *, key: PRNGKey | None = None) -> Float[Array, "3"]:
        """Logits of the three classes."""
        hidden = jax.nn.relu(self.hidden(letters.reshape(-1)))
        return self.head(self.dropout(hidden, key=key))


class State(NamedTuple):
    """What training carries."""

    model: SpliceClassifier
    optimiser: optax.OptState


def train_classifier(
    junctions: Junctions, *, key: PRNGKey, n_steps: int, run: Run | None = None
) -> SpliceClassifier:
    """A classifier in inference mode.

    Args:
        junctions: To learn from.
        key: Determines weights, order and dropout.
        n_steps: Of Adam with weight decay.
        run: Where metrics and checkpoints go.
    """
    model_key, fit_key = jax.random.split(key)
    model = SpliceClassifier(key=model_key)
    rate = schedule("cosine", LEARNING_RATE, n_steps=n_steps, warm_up=n_steps // 20)
    optimiser = optax.adamw(rate, weight_decay=WEIGHT_DECAY)
    state = State(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)))

    def loss(model: SpliceClassifier, letters: Array, labels: Array, key: PRNGKey) -> Scalar:
        logits = jax.vmap(lambda own, key: model(own, key=key))(letters, jax.random.split(key, len(letters)))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(state: State, batch: tuple[Array, Array], *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        value, gradients = eqx.filter_value_and_grad(loss)(state.model, *batch, key)
        weights = eqx.filter(state.model, eqx.is_inexact_array)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser, weights)
        return State(eqx.apply_updates(state.model, updates), memory), {"cross-entropy/train": value}

    batches = Batches((junctions.letters, junctions.labels), min(BATCH_SIZE, len(junctions.labels)), seed=0)
    fitted = fit(step, state, batches, n_steps=n_steps, key=fit_key, run=run, label="classifier")
    return eqx.nn.inference_mode(fitted.state.model)


@eqx.filter_jit
def _logits(model: SpliceClassifier, letters: Float[Array, "row 60 4"]) -> Float[Array, "row 3"]:
    return jax.vmap(model)(letters)


def predicted(model: SpliceClassifier, junctions: Junctions) -> Int[np.ndarray, "sequence"]:
    """The class of each."""
    return np.asarray(_logits(model, jnp.asarray(junctions.letters))).argmax(axis=1)
