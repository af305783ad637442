"""What networks that fill in images are trained on, and how."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar, check_choice, check_integer, check_positive
from backthrough.explain.infill.fitted import Seen, training_examples
from backthrough.explain.infill.layout import Channels, check_channels, to_last
from backthrough.explain.infill.masks import image_mask
from backthrough.train import Batches, Run, fit, mean_over_shards, schedule

Symmetry = Literal["none", "mirror", "square"]
SYMMETRIES = ("none", "mirror", "square")
WIDTHS = (24, 48, 96)
Loss = Callable[[PyTree, Array, Array, PRNGKey], tuple[Scalar, Scalar]]


class TrainingImages(NamedTuple):
    """Images as a network gets them.

    Attributes:
        rows: Standardised, channels last.
        mean: Of each channel.
        std: Of each channel.
        seen: Their shape and range as they came.
    """

    rows: Float[np.ndarray, "image height width channel"]
    mean: Float[np.ndarray, "channel"]
    std: Float[np.ndarray, "channel"]
    seen: Seen

    @classmethod
    def of(cls, X: Any, channels: Channels) -> "TrainingImages":
        """Standardises images by the mean and variance of each channel.

        Raises:
            ArgumentError: for other arrays than images of this layout, or those of stored bytes.
            DataError: for numbers that are not finite.
        """
        check_channels(channels)
        examples = training_examples(X, axes=(3,) if channels is None else (4,))
        images = np.asarray(jax.vmap(lambda x: to_last(x, channels))(examples.astype(np.float32)))
        mean = images.mean((0, 1, 2), dtype=np.float64)
        std = images.std((0, 1, 2), dtype=np.float64)
        std = np.where(std > 0, std, 1.0)
        return cls(((images - mean) / std).astype(np.float32), mean, std, Seen.of(examples))


class State(NamedTuple):
    """What training carries."""

    network: PyTree
    optimiser: optax.OptState


def train_on_images(
    network: PyTree,
    loss: Loss,
    rows: Float[np.ndarray, "image height width channel"],
    *,
    metric: str,
    symmetry: Symmetry,
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    key: PRNGKey,
    run: Run | None,
) -> PyTree:
    """The network after `n_steps` of Adam on images under random masks (`masks.image_mask`).

    Args:
        network: Before training.
        loss: Of the network, images, what of them is kept, and a key: what is made small, and a number to
            report.
        rows: Standardised images.
        metric: Name of that number.
        symmetry: What leaves an image as likely as it was: `"mirror"`, left and right; `"square"`, also
            upside down and, of images as wide as high, turned.
        n_steps: Of Adam.
        batch_size: Images in a batch, at most.
        learning_rate: The largest; it falls along half a cosine.
        key: Determines masks, noise and order.
        run: Where metrics and checkpoints go.
    """
    check_choice("symmetry", symmetry, SYMMETRIES)
    check_positive("learning_rate", learning_rate)
    check_integer("n_steps", n_steps, minimum=1)
    check_integer("batch_size", batch_size, minimum=1)
    rate = schedule("cosine", learning_rate, n_steps=n_steps, warm_up=min(50, n_steps // 10))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = State(network, optimiser.init(eqx.filter(network, eqx.is_inexact_array)))

    def step(state: State, images: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        turn_key, mask_key, loss_key = jax.random.split(key, 3)
        n, height, width = images.shape[:3]
        images = jax.vmap(lambda x, key: _turned(x, symmetry, key))(images, jax.random.split(turn_key, n))
        masks = jax.vmap(lambda key: image_mask(key, height, width))(jax.random.split(mask_key, n))
        kept = jnp.broadcast_to(masks[..., None], images.shape)
        (_, number), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(
            state.network, images, kept, loss_key
        )
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        return State(eqx.apply_updates(state.network, updates), memory), {f"{metric}/train": number}

    batches = Batches(rows, min(batch_size, len(rows)), seed=0)
    fitted = fit(step, state, batches, n_steps=n_steps, key=key, run=run, label="infiller")
    return fitted.state.network


def _turned(image: Float[Array, "height width channel"], symmetry: Symmetry, key: PRNGKey) -> Array:
    """The image, mirrored or turned at random as far as the symmetry allows."""
    flips = jax.random.bernoulli(key, shape=(3,))
    if symmetry != "none":
        image = jnp.where(flips[0], image[:, ::-1], image)
    if symmetry == "square":
        image = jnp.where(flips[1], image[::-1], image)
        if image.shape[0] == image.shape[1]:
            image = jnp.where(flips[2], image.transpose(1, 0, 2), image)
    return image
