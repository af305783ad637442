"""An infiller for images whose channels lie elsewhere than in those that it was fitted to."""

import equinox as eqx
import jax
from jaxtyping import Array, Shaped

from backthrough.core import PRNGKey
from backthrough.explain.infill.infiller import Example, Infiller, Mask, keep
from backthrough.explain.infill.layout import Channels, check_channels, from_last, to_last


class Relaid(eqx.Module):
    """Fills in images of another layout: such as a torch model's, by what was fitted to channels last.

    Attributes:
        infiller: What fills in.
        own: The layout that the infiller knows.
        channels: The layout of the images.

    Examples:
        >>> import jax.numpy as jnp
        >>> from backthrough.explain.infill import Constant
        >>> infiller = Relaid(Constant(jnp.array([1.0, 2.0, 3.0])), own="last", channels="first")
        >>> x, mask = jnp.zeros((3, 4, 4)), jnp.zeros((3, 4, 4), bool)
        >>> infiller.sample(x, mask, key=jax.random.key(0), n_samples=1)[0, :, 0, 0].tolist()
        [1.0, 2.0, 3.0]
    """

    infiller: Infiller
    own: Channels = eqx.field(static=True)
    channels: Channels = eqx.field(static=True)

    def __init__(self, infiller: Infiller, *, own: Channels, channels: Channels):
        for layout in (own, channels):
            check_channels(layout)
        self.infiller, self.own, self.channels = infiller, own, channels

    @property
    def conditional(self) -> bool:
        """As the infiller's."""
        return self.infiller.conditional

    @property
    def leaks(self) -> bool:
        """As the infiller's."""
        return self.infiller.leaks

    def check(self, x: Shaped[Array, "example ..."]) -> None:
        """Refuses examples unlike those that the infiller was fitted to."""
        own_check = getattr(self.infiller, "check", None)
        if own_check is not None:
            own_check(jax.vmap(self._inwards)(x))

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`."""
        drawn = self.infiller.sample(self._inwards(x), self._inwards(mask), key=key, n_samples=n_samples)
        back = jax.vmap(lambda own: from_last(to_last(own, self.own), self.channels))(drawn)
        return keep(x, mask, back)

    def _inwards(self, x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        return from_last(to_last(x, self.channels), self.own)
