"""A small classifier of windows: is there a white cell?"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.nets import Convolution
from backthrough.recipes.explain.cells import SIDE, Windows
from backthrough.train import Batches, Run, fit, mean_over_shards, schedule

CHANNELS = (16, 32, 32)
N_STEPS, BATCH_SIZE, LEARNING_RATE = 300, 64, 1e-3
Window = Float[Array, "32 32 3"]


class CellClassifier(eqx.Module):
    """Three convolutions, each of which halves the sides, and a linear layer.

    Attributes:
        convolutions: With kernels of 3 and strides of 2.
        head: From all that is left to the two logits.

    Examples:
        >>> CellClassifier(key=jax.random.key(0))(jnp.zeros((32, 32, 3))).shape
        (2,)
    """

    convolutions: tuple[Convolution, ...]
    head: eqx.nn.Linear

    def __init__(self, *, key: PRNGKey):
        *keys, head_key = jax.random.split(key, len(CHANNELS) + 1)
        self.convolutions = tuple(
            Convolution(n_in, n_out, 3, stride=2, padding=1, key=own)
            for n_in, n_out, own in zip((3, *CHANNELS[:-1]), CHANNELS, keys, strict=True)
        )
        side = SIDE // 2 ** len(CHANNELS)
        self.head = eqx.nn.Linear(side**2 * CHANNELS[-1], 2, key=head_key)

    def __call__(self, image: Window) -> Float[Array, "2"]:
        """Logits of no white cell and of one."""
        x = image
        for convolution in self.convolutions:
            x = jax.nn.relu(convolution(x))
        return self.head(x.reshape(-1))


class State(NamedTuple):
    """What training carries."""

    model: CellClassifier
    optimiser: optax.OptState


def train_classifier(
    windows: Windows, *, key: PRNGKey, n_steps: int = N_STEPS, run: Run | None = None
) -> CellClassifier:
    """A classifier of windows; what it answers for others of the kind is in `accuracy`.

    Args:
        windows: To learn from; mirror images of them are drawn too.
        key: Determines weights, order and mirroring.
        n_steps: Of Adam, on batches of 64.
        run: Where metrics and checkpoints go.
    """
    model_key, fit_key = jax.random.split(key)
    model = CellClassifier(key=model_key)
    optimiser = optax.adam(schedule("cosine", LEARNING_RATE, n_steps=n_steps, warm_up=n_steps // 20))
    state = State(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)))

    def loss(model: CellClassifier, images: Array, labels: Array) -> Scalar:
        logits = jax.vmap(model)(images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(state: State, batch: tuple[Array, Array], *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        images, labels = batch
        images = jax.vmap(_mirrored)(images, jax.random.bernoulli(key, shape=(len(images), 2)))
        value, gradients = eqx.filter_value_and_grad(loss)(state.model, images, labels)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        return State(eqx.apply_updates(state.model, updates), memory), {"cross-entropy/train": value}

    rows = (windows.images.astype(np.float32), windows.labels.astype(np.int32))
    batches = Batches(rows, min(BATCH_SIZE, len(windows.labels)), seed=0)
    fitted = fit(step, state, batches, n_steps=n_steps, key=fit_key, run=run, label="classifier")
    return fitted.state.model


def accuracy(model: CellClassifier, windows: Windows) -> float:
    """The part of the windows that it answers rightly."""
    return float(np.mean(np.asarray(logits_of(model, windows.images)).argmax(1) == windows.labels))


@eqx.filter_jit
def logits_of(
    model: CellClassifier, images: Float[np.ndarray | Array, "window 32 32 3"]
) -> Float[Array, "window 2"]:
    """Logits of many windows."""
    return jax.vmap(model)(jnp.asarray(images))


def _mirrored(image: Array, flips: Array) -> Array:
    """The image, upside down and left to right where the two truth values say so."""
    image = jnp.where(flips[0], image[::-1], image)
    return jnp.where(flips[1], image[:, ::-1], image)
