"""Images filled in by a network that was trained to guess hidden pixels of others."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice, check_integer, check_positive
from backthrough.explain.infill.fitted import Seen, training_examples
from backthrough.explain.infill.infiller import Example, Mask, hide, keep, repeat
from backthrough.explain.infill.layout import Channels, check_channels, from_last, to_last
from backthrough.explain.infill.masks import image_mask
from backthrough.explain.infill.unet import UNet
from backthrough.train import Batches, Run, fit, mean_over_shards, schedule

Symmetry = Literal["none", "mirror", "square"]
SYMMETRIES = ("none", "mirror", "square")
WIDTHS = (24, 48, 96)
LEAST = 0.1  # part of an image that counts beside what is hidden, so that small holes weigh more, but not all


class MaskedAutoencoder(eqx.Module):
    """Hidden pixels get what a U-Net makes of those that are kept: about their conditional mean.

    The network sees the image with zeros in the holes, and where these are. It was trained to give the least
    squared error of hidden pixels under many kinds of masks (`masks.image_mask`), as in Pathak et al. 2016
    without the adversary. There is one answer, so all draws are the same.

    Attributes:
        network: From image and mask to the image, both standardised.
        mean: Of each channel.
        std: Of each channel.
        seen: What it was fitted to.
        channels: Layout of an image.
        widths: Channels of the network at each resolution.
    """

    network: UNet
    mean: Float[Array, "channel"]
    std: Float[Array, "channel"]
    seen: Seen
    channels: Channels = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    conditional: bool = eqx.field(default=True, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    def __init__(
        self,
        seen: Seen,
        mean: Float[np.ndarray | Array, "channel"],
        std: Float[np.ndarray | Array, "channel"],
        *,
        channels: Channels,
        widths: tuple[int, ...],
        key: PRNGKey,
    ):
        n_channels = len(mean)
        self.network = UNet(2 * n_channels, n_channels, widths, key=key)
        self.mean, self.std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
        self.seen, self.channels, self.widths = seen, channels, widths

    @classmethod
    def fit(
        cls,
        X: Any,
        *,
        key: PRNGKey,
        channels: Channels = "last",
        symmetry: Symmetry = "none",
        n_steps: int = 2000,
        batch_size: int = 16,
        learning_rate: float = 2e-3,
        widths: tuple[int, ...] = WIDTHS,
        run: Run | None = None,
    ) -> "MaskedAutoencoder":
        """Trains a network on images; minutes on a CPU for 32 x 32 pixels.

        Args:
            X: Images along the leading axis, floating point, scaled as the model gets them.
            key: Determines weights, masks and order.
            channels: Layout of an image; None for (height, width).
            symmetry: What leaves an image as likely as it was, to learn from more of them: `"mirror"`, left
                and right; `"square"`, also upside down and, of images as wide as high, turned.
            n_steps: Of Adam.
            batch_size: Images in a batch, at most.
            learning_rate: The largest; it falls along half a cosine.
            widths: Channels at each resolution, from the finest: half that of the image, a quarter, ...
            run: Where metrics and checkpoints go; one that is resumed goes on.

        Raises:
            ArgumentError: for other arrays than images, or a wrong option.
            DataError: for numbers that are not finite.
        """
        check_channels(channels)
        check_choice("symmetry", symmetry, SYMMETRIES)
        check_positive("learning_rate", learning_rate)
        for width in widths:
            check_integer("widths", width, minimum=1)
        examples = training_examples(X, axes=(3,) if channels is None else (4,))
        images = np.asarray(jax.vmap(lambda x: to_last(x, channels))(examples.astype(np.float32)))
        mean = images.mean((0, 1, 2), dtype=np.float64)
        std = images.std((0, 1, 2), dtype=np.float64)
        std = np.where(std > 0, std, 1.0)
        model_key, fit_key = jax.random.split(key)
        model = cls(Seen.of(examples), mean, std, channels=channels, widths=tuple(widths), key=model_key)
        rows = ((images - mean) / std).astype(np.float32)
        network = _train(
            model.network, rows, symmetry, n_steps, min(batch_size, len(rows)), learning_rate, fit_key, run
        )
        return eqx.tree_at(lambda own: own.network, model, network)

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples unlike those that it was fitted to."""
        self.seen.check(x)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`; all draws are the same.

        Raises:
            ArgumentError: if x has other axes or channels than the images that it was fitted to.
        """
        image, kept = to_last(hide(x, mask), self.channels), to_last(mask, self.channels)
        if image.shape[-1] != len(self.mean):
            raise ArgumentError(f"an image has {len(self.mean)} channels, x has {image.shape[-1]}")
        guess = _guess(self.network, (image - self.mean) / self.std, kept)
        return keep(x, mask, repeat(from_last(self.mean + self.std * guess, self.channels), n_samples))


class State(NamedTuple):
    """What training carries."""

    network: UNet
    optimiser: optax.OptState


def _guess(
    network: UNet,
    image: Float[Array, "height width channel"],
    kept: Bool[Array, "height width channel"],
) -> Float[Array, "height width channel"]:
    """All pixels, standardised, from those that are kept."""
    holes = jnp.where(kept, image, 0).astype(jnp.float32)
    return network(jnp.concatenate([holes, kept.astype(jnp.float32)], axis=-1))


def _train(
    network: UNet,
    rows: Float[np.ndarray, "image height width channel"],
    symmetry: str,
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    key: PRNGKey,
    run: Run | None,
) -> UNet:
    rate = schedule("cosine", learning_rate, n_steps=n_steps, warm_up=min(50, n_steps // 10))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = State(network, optimiser.init(eqx.filter(network, eqx.is_inexact_array)))

    def loss(network: UNet, images: Array, kept: Array) -> tuple[Scalar, Scalar]:
        errors = jnp.square(jax.vmap(lambda *own: _guess(network, *own))(images, kept) - images)
        axes = (1, 2, 3)
        hidden = jnp.mean(~kept, axis=axes)
        each = jnp.mean(jnp.where(kept, 0, errors), axis=axes)
        return jnp.mean(each / (hidden + LEAST)), jnp.sum(each) / jnp.maximum(jnp.sum(hidden), 1e-6)

    def step(state: State, images: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        turn_key, mask_key = jax.random.split(key)
        images = jax.vmap(lambda x, key: _turned(x, symmetry, key))(
            images, jax.random.split(turn_key, len(images))
        )
        masks = jax.vmap(lambda key: image_mask(key, *images.shape[1:3]))(
            jax.random.split(mask_key, len(images))
        )
        kept = jnp.broadcast_to(masks[..., None], images.shape)
        (_, error), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(state.network, images, kept)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        new = State(eqx.apply_updates(state.network, updates), memory)
        return new, {"squared error of hidden pixels (variances)/train": error}

    batches = Batches(rows, batch_size, seed=0)
    fitted = fit(step, state, batches, n_steps=n_steps, key=key, run=run, label="infiller")
    return fitted.state.network


def _turned(image: Float[Array, "height width channel"], symmetry: str, key: PRNGKey) -> Array:
    """The image, mirrored or turned at random as far as the symmetry allows."""
    flips = jax.random.bernoulli(key, shape=(3,))
    if symmetry != "none":
        image = jnp.where(flips[0], image[:, ::-1], image)
    if symmetry == "square":
        image = jnp.where(flips[1], image[::-1], image)
        if image.shape[0] == image.shape[1]:
            image = jnp.where(flips[2], image.transpose(1, 0, 2), image)
    return image
