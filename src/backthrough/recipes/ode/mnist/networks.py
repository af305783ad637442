"""The image classifiers of Chen et al. 2018, section 3: a stem, a body and a head."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice, check_integer
from backthrough.nets import Convolution, GroupNorm
from backthrough.ode import RK4, Adaptive, Dopri5, ODEBlock, Unrolled
from backthrough.recipes.ode.mnist.config import BODIES

N_BLOCKS = 6  # residual blocks, for which the ODE stands
RK_STEPS = 2
END_SIZE = 6  # height and width in the body
MAX_STEPS = 256

Image = Float[Array, "height width channel"]


def normalise(channels: int) -> GroupNorm:
    """Groups of eight channels; smaller ones would take most of what there is from few channels."""
    return GroupNorm(channels, channels // 8 if channels % 8 == 0 else 1)


class Stem(eqx.Module):
    """From 28 x 28 grey levels to 6 x 6 with channels, as in torchdiffeq's example."""

    convolutions: tuple[Convolution, ...]
    norms: tuple[GroupNorm, ...]

    def __init__(self, channels: int, *, key: PRNGKey):
        keys = jax.random.split(key, 3)
        self.convolutions = (
            Convolution(1, channels, 3, key=keys[0]),
            Convolution(channels, channels, 4, stride=2, padding=1, key=keys[1]),
            Convolution(channels, channels, 4, stride=2, padding=1, key=keys[2]),
        )
        self.norms = tuple(normalise(channels) for _ in range(2))

    def __call__(self, image: Float[Array, "28 28"]) -> Image:
        """What the body starts from."""
        x = self.convolutions[0](image[:, :, None])
        for norm, convolution in zip(self.norms, self.convolutions[1:], strict=True):
            x = convolution(jax.nn.relu(norm(x)))
        return x


class Residual(eqx.Module):
    """x + two convolutions of x, each after norm and activation."""

    convolutions: tuple[Convolution, Convolution]
    norms: tuple[GroupNorm, GroupNorm]

    def __init__(self, channels: int, *, key: PRNGKey):
        first, second = jax.random.split(key)
        self.convolutions = (
            Convolution(channels, channels, 3, padding=1, key=first),
            Convolution(channels, channels, 3, padding=1, key=second),
        )
        self.norms = (normalise(channels), normalise(channels))

    def __call__(self, x: Image, *, key: PRNGKey | None = None) -> Image:
        """The block's output."""
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(jax.nn.relu(norm(y)))
        return x + y


class ConvolutionField(eqx.Module):
    """dx/dt: two convolutions that see the time as one more channel, smooth activations, group norms."""

    convolutions: tuple[Convolution, Convolution]
    norms: tuple[GroupNorm, GroupNorm, GroupNorm]

    def __init__(self, channels: int, *, key: PRNGKey):
        first, second = jax.random.split(key)
        self.convolutions = (
            Convolution(channels + 1, channels, 3, padding=1, key=first),
            Convolution(channels + 1, channels, 3, padding=1, key=second),
        )
        norms = (normalise(channels) for _ in range(3))
        self.norms = tuple(norms)  # type: ignore[assignment]

    def __call__(self, t: Scalar, x: Image, args: None) -> Image:
        """dx/dt."""
        clock = jnp.broadcast_to(t, (*x.shape[:2], 1))
        for norm, convolution in zip(self.norms[:2], self.convolutions, strict=True):
            x = convolution(jnp.concatenate([jax.nn.softplus(norm(x)), clock], axis=-1))
        return self.norms[2](x)


class Classifier(eqx.Module):
    """Logits of one image.

    Attributes:
        stem: Makes the channels.
        body: An `ODEBlock`, or residual blocks.
        norm: After the body.
        head: From all pixels to logits. Pooling them first, as the paper does, learns many times more slowly
            with few channels.
    """

    stem: Stem
    body: ODEBlock | eqx.nn.Sequential
    norm: GroupNorm
    head: eqx.nn.Linear

    def __init__(self, kind: str, channels: int, *, tolerance: float, n_classes: int = 10, key: PRNGKey):
        check_choice("model", kind, BODIES)
        if check_integer("channels", channels, minimum=1) > 16 and channels % 8:
            raise ArgumentError(f"channels above 16 must fall into groups of eight, got {channels}")
        stem_key, body_key, head_key = jax.random.split(key, 3)
        self.stem = Stem(channels, key=stem_key)
        if kind == "ResNet":
            keys = jax.random.split(body_key, N_BLOCKS)
            self.body = eqx.nn.Sequential([Residual(channels, key=own) for own in keys])
        else:
            field = ConvolutionField(channels, key=body_key)
            if kind == "ODE-Net":
                solver = Dopri5(rtol=tolerance, atol=tolerance)
                self.body = ODEBlock(field, solver=solver, max_steps=MAX_STEPS)
            else:
                self.body = ODEBlock(field, solver=RK4(RK_STEPS), adjoint=Unrolled())
        self.norm = normalise(channels)
        self.head = eqx.nn.Linear(END_SIZE**2 * channels, n_classes, key=head_key)

    def __call__(self, image: Float[Array, "28 28"]) -> tuple[Float[Array, "class"], Int[Array, "2"]]:
        """Logits, and the evaluations of the field forward and backward: 0 where there is no field."""
        x = self.stem(image)
        cost = jnp.zeros(2, jnp.int32)
        if isinstance(self.body, ODEBlock):
            solution = self.body.solve(x)
            x = solution.ys[-1]
            cost = jnp.stack([solution.stats.evaluations, solution.stats.backward_evaluations])
        else:
            x = self.body(x)
        return self.head(jax.nn.relu(self.norm(x)).reshape(-1)), cost


def with_solver(model: Classifier, solver: Adaptive) -> Classifier:
    """The same ODE-Net, solved otherwise."""
    assert isinstance(model.body, ODEBlock)
    body = ODEBlock(model.body.field, solver=solver, max_steps=MAX_STEPS)
    return eqx.tree_at(lambda model: model.body, model, body)


def n_parameters(model: Classifier) -> int:
    """How many numbers are trained."""
    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(eqx.filter(model, eqx.is_inexact_array)))
