"""Images filled in by a network that was trained to guess hidden pixels of others."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer
from backthrough.explain.infill.fitted import Seen
from backthrough.explain.infill.image_training import WIDTHS, Symmetry, TrainingImages, train_on_images
from backthrough.explain.infill.infiller import Example, Mask, hide, keep, repeat
from backthrough.explain.infill.layout import Channels, from_last, to_last
from backthrough.explain.infill.unet import UNet
from backthrough.train import Run

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

    Examples:
        >>> images = np.random.default_rng(0).random((4, 6, 6, 3)).astype(np.float32)
        >>> infiller = MaskedAutoencoder.fit(images, key=jax.random.key(0), n_steps=1, widths=(4,))
        >>> x, mask = jnp.asarray(images[0]), jnp.zeros((6, 6, 3), bool)
        >>> eqx.filter_jit(infiller.sample)(x, mask, key=jax.random.key(1), n_samples=2).shape
        (2, 6, 6, 3)
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
        n_steps: int = 1500,
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
        for width in widths:
            check_integer("widths", width, minimum=1)
        images = TrainingImages.of(X, channels)
        model_key, fit_key = jax.random.split(key)
        model = cls(
            images.seen, images.mean, images.std, channels=channels, widths=tuple(widths), key=model_key
        )
        network = train_on_images(
            model.network,
            _loss,
            images.rows,
            metric="squared error of hidden pixels (variances)",
            symmetry=symmetry,
            n_steps=n_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            key=fit_key,
            run=run,
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


def _guess(
    network: UNet,
    image: Float[Array, "height width channel"],
    kept: Bool[Array, "height width channel"],
) -> Float[Array, "height width channel"]:
    """All pixels, standardised, from those that are kept."""
    holes = jnp.where(kept, image, 0).astype(jnp.float32)
    return network(jnp.concatenate([holes, kept.astype(jnp.float32)], axis=-1))


def _loss(network: UNet, images: Array, kept: Array, key: PRNGKey) -> tuple[Scalar, Scalar]:
    """What is made small, in which small holes weigh more than by their pixels; and the error of pixels."""
    errors = jnp.square(jax.vmap(lambda *own: _guess(network, *own))(images, kept) - images)
    axes = (1, 2, 3)
    hidden = jnp.mean(~kept, axis=axes)
    each = jnp.mean(jnp.where(kept, 0, errors), axis=axes)
    return jnp.mean(each / (hidden + LEAST)), jnp.sum(each) / jnp.maximum(jnp.sum(hidden), 1e-6)
