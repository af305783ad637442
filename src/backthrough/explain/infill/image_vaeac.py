"""Images filled in by draws: a convolutional variational autoencoder with arbitrary conditioning."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer
from backthrough.explain.infill.fitted import Seen
from backthrough.explain.infill.image_training import WIDTHS, Symmetry, TrainingImages, train_on_images
from backthrough.explain.infill.infiller import Example, Mask, hide, keep
from backthrough.explain.infill.layout import Channels, from_last, to_last
from backthrough.explain.infill.unet import Down, Up, convolution, filled_up
from backthrough.explain.infill.vaeac_networks import Latent
from backthrough.nets import Convolution
from backthrough.train import Run

LEAST_STD = 0.05  # of a predicted pixel, standardised
Image = Float[Array, "height width channel"]
Kept = Bool[Array, "height width channel"]


class Given(NamedTuple):
    """What the prior network makes of what is kept.

    Attributes:
        latent: The prior.
        bottom: Channels at the coarsest resolution.
        passed: Channels at the others.
        holes: The image with holes and where they are, filled up.
    """

    latent: Latent
    bottom: Array
    passed: list[Array]
    holes: Array


class ImageNetworks(eqx.Module):
    """Prior, proposal and decoder, whose latent is a small image with channels of its own.

    Attributes:
        prior: The way down of what is kept.
        proposal: The way down of the whole image.
        prior_head: From its channels to means and spreads of the latent.
        proposal_head: The same, of the proposal.
        entry: From the latent to channels, which are added to those of the prior.
        up: The way back, to means and spreads of all pixels.
    """

    prior: Down
    proposal: Down
    prior_head: Convolution
    proposal_head: Convolution
    entry: Convolution
    up: Up

    def __init__(self, n_channels: int, widths: tuple[int, ...], n_latent: int, *, key: PRNGKey):
        keys = jax.random.split(key, 6)
        self.prior = Down(2 * n_channels, widths, key=keys[0])
        self.proposal = Down(2 * n_channels, widths, key=keys[1])
        self.prior_head = convolution(widths[-1], 2 * n_latent, 1, gain=0.1, key=keys[2])
        self.proposal_head = convolution(widths[-1], 2 * n_latent, 1, gain=0.1, key=keys[3])
        self.entry = convolution(n_latent, widths[-1], 1, key=keys[4])
        self.up = Up(2 * n_channels, 2 * n_channels, widths, key=keys[5])

    def given(self, image: Image, kept: Kept) -> Given:
        """The prior, and what the way up takes beside the latent."""
        holes = self._input(jnp.where(kept, image, 0), kept)
        bottom, passed = self.prior(holes)
        return Given(Latent.of(self.prior_head(bottom)), bottom, passed, holes)

    def proposed(self, image: Image, kept: Kept) -> Latent:
        """The latent given the whole image."""
        return Latent.of(self.proposal_head(self.proposal(self._input(image, kept))[0]))

    def decoded(self, z: Array, given: Given, image: Image) -> tuple[Image, Image]:
        """Mean and standard deviation of all pixels of an image like this one."""
        outputs = self.up(given.bottom + self.entry(z), given.passed, given.holes)
        mean, spread = jnp.split(outputs[: image.shape[0], : image.shape[1]], 2, axis=-1)
        return mean, LEAST_STD + jax.nn.softplus(spread)

    def _input(self, image: Image, kept: Kept) -> Float[Array, "new_height new_width both"]:
        both = jnp.concatenate([image, kept.astype(image.dtype)], axis=-1)
        return filled_up(both, len(self.prior.blocks))


class ImageVAEAC(eqx.Module):
    """Draws hidden pixels by a variational autoencoder that any of them may be given to.

    As `VAEAC` (Ivanov et al. 2019), with the U-Net of `MaskedAutoencoder`: the way down gives the prior of
    the latent, which the way up takes with all that was passed on the way. Draws differ by the latent alone:
    pixels get the decoder's mean, since noise on every pixel would look like no image. Where little is kept
    they vary less than images do, since the latent is used too little: a fifth of the variance for waves of
    any phase of which nothing is kept.

    Attributes:
        networks: Prior, proposal and decoder.
        mean: Of each channel.
        std: Of each channel.
        seen: What it was fitted to.
        channels: Layout of an image.
        widths: Channels of the networks at each resolution.
        n_latent: Channels of the latent.

    Examples:
        >>> images = np.random.default_rng(0).random((4, 6, 6)).astype(np.float32)
        >>> infiller = ImageVAEAC.fit(
        ...     images, key=jax.random.key(0), channels=None, n_steps=1, widths=(4,), n_latent=2
        ... )
        >>> x, mask = jnp.asarray(images[0]), jnp.zeros((6, 6), bool)
        >>> eqx.filter_jit(infiller.sample)(x, mask, key=jax.random.key(1), n_samples=2).shape
        (2, 6, 6)
    """

    networks: ImageNetworks
    mean: Float[Array, "channel"]
    std: Float[Array, "channel"]
    seen: Seen
    channels: Channels = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    n_latent: int = eqx.field(static=True)
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
        n_latent: int,
        key: PRNGKey,
    ):
        self.networks = ImageNetworks(len(mean), widths, n_latent, key=key)
        self.mean, self.std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
        self.seen, self.channels, self.widths, self.n_latent = seen, channels, widths, n_latent

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
        n_latent: int = 8,
        run: Run | None = None,
    ) -> "ImageVAEAC":
        """Trains the networks on images: twice as long as a `MaskedAutoencoder`.

        Args:
            X: Images along the leading axis, floating point, scaled as the model gets them.
            key: Determines weights, masks, noise and order.
            channels: Layout of an image; None for (height, width).
            symmetry: As for `MaskedAutoencoder.fit`.
            n_steps: Of Adam.
            batch_size: Images in a batch, at most.
            learning_rate: The largest; it falls along half a cosine.
            widths: Channels at each resolution, from the finest: half that of the image, a quarter, ...
            n_latent: Channels of the latent, at the coarsest resolution.
            run: Where metrics and checkpoints go; one that is resumed goes on.

        Raises:
            ArgumentError: for other arrays than images, or a wrong option.
            DataError: for numbers that are not finite.
        """
        check_integer("n_latent", n_latent, minimum=1)
        for width in widths:
            check_integer("widths", width, minimum=1)
        images = TrainingImages.of(X, channels)
        model_key, fit_key = jax.random.split(key)
        model = cls(
            images.seen,
            images.mean,
            images.std,
            channels=channels,
            widths=tuple(widths),
            n_latent=n_latent,
            key=model_key,
        )
        networks = train_on_images(
            model.networks,
            _loss,
            images.rows,
            metric="bound on hidden pixels (nats a pixel)",
            symmetry=symmetry,
            n_steps=n_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            key=fit_key,
            run=run,
        )
        return eqx.tree_at(lambda own: own.networks, model, networks)

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples unlike those that it was fitted to."""
        self.seen.check(x)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`.

        Raises:
            ArgumentError: if x has other axes or channels than the images that it was fitted to.
        """
        image, kept = to_last(hide(x, mask), self.channels), to_last(mask, self.channels)
        if image.shape[-1] != len(self.mean):
            raise ArgumentError(f"an image has {len(self.mean)} channels, x has {image.shape[-1]}")
        image = ((image - self.mean) / self.std).astype(jnp.float32)
        given = self.networks.given(image, kept)

        def draw(key: PRNGKey) -> Shaped[Array, "..."]:
            mean, _ = self.networks.decoded(given.latent.draw(key), given, image)
            return from_last(self.mean + self.std * mean, self.channels)

        return keep(x, mask, jax.vmap(draw)(jax.random.split(key, n_samples)))


def _loss(networks: ImageNetworks, images: Array, kept: Array, key: PRNGKey) -> tuple[Scalar, Scalar]:
    """Less the bound with the prior's regularisation, and the bound, by the number of an image's features."""

    def of(image: Image, kept: Kept, key: PRNGKey) -> tuple[Scalar, Scalar]:
        given, proposal = networks.given(image, kept), networks.proposed(image, kept)
        mean, std = networks.decoded(proposal.draw(key), given, image)
        likelihood = jnp.sum(jnp.where(kept, 0, jax.scipy.stats.norm.logpdf(image, mean, std)))
        bound = likelihood - proposal.divergence(given.latent)
        return (bound + given.latent.pull()) / image.size, bound / image.size

    objectives, bounds = jax.vmap(of)(images, kept, jax.random.split(key, len(images)))
    return -objectives.mean(), bounds.mean()
