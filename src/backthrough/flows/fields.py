"""Vector fields for continuous flows."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer
from backthrough.flows.bijection import Condition, Point


@runtime_checkable
class VectorField(Protocol):
    """dx/dt of one point.

    A field that knows its divergence in closed form also has `with_divergence(t, x, condition)`, which
    returns it beside dx/dt.
    """

    def __call__(self, t: Scalar, x: Point, condition: Condition, /) -> Point:
        """dx/dt."""
        ...


class PlanarField(eqx.Module):
    """The continuous planar flow: dx/dt = mean over m of g_m(t) u_m(t) tanh(w_m(t) . x + b_m(t)).

    Chen et al. 2018, eqs. 9-10; w, b, u and the gates g in (0, 1) come from a small network of the time (and
    the condition). Its divergence is a closed form of cost O(width).

    Attributes:
        size: Dimensions of x.
        width: Number of planar units.
        condition_size: Entries of the condition; 0 for none.
        network: (time, condition) -> all parameters of the units.
    """

    size: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    condition_size: int = eqx.field(static=True)
    network: eqx.nn.MLP

    def __init__(
        self, size: int, width: int, *, hidden_size: int = 32, condition_size: int = 0, key: PRNGKey
    ):
        self.size = check_integer("size", size, minimum=1)
        self.width = check_integer("width", width, minimum=1)
        self.condition_size = check_integer("condition_size", condition_size, minimum=0)
        check_integer("hidden_size", hidden_size, minimum=1)
        n_out = width * (2 * size + 2)
        self.network = eqx.nn.MLP(1 + condition_size, n_out, hidden_size, 2, jnp.tanh, key=key)

    def __call__(self, t: Scalar, x: Point, condition: Condition = None) -> Point:
        """dx/dt."""
        return self.with_divergence(t, x, condition)[0]

    def with_divergence(self, t: Scalar, x: Point, condition: Condition = None) -> tuple[Point, Scalar]:
        """dx/dt and its divergence (Chen et al. 2018, eq. 10)."""
        _check_size(x, self.size)
        out = self.network(_clock(t, condition, self.condition_size))
        split = self.width * self.size
        weight = out[:split].reshape(self.width, self.size)
        shift = out[split : 2 * split].reshape(self.width, self.size)
        bias, gate = out[2 * split :].reshape(2, self.width)
        shift = jax.nn.sigmoid(gate)[:, None] * shift
        height = jnp.tanh(weight @ x + bias)
        along = jnp.sum(shift * weight, axis=1)
        return height @ shift / self.width, jnp.mean(along * (1 - jnp.square(height)))


class GatedMLP(eqx.Module):
    """A network whose layers are gated and shifted by the time: y = (W x + b) * sigmoid(G c) + H c.

    c holds time and condition. The layer that Grathwohl et al. 2019 call concatsquash; tanh between layers.

    Attributes:
        condition_size: Entries of the condition; 0 for none.
        layers: The W and b.
        gates: The G, with a bias.
        shifts: The H.
    """

    condition_size: int = eqx.field(static=True)
    layers: tuple[eqx.nn.Linear, ...]
    gates: tuple[eqx.nn.Linear, ...]
    shifts: tuple[eqx.nn.Linear, ...]

    def __init__(
        self, size: int, hidden_sizes: Sequence[int] = (64, 64), *, condition_size: int = 0, key: PRNGKey
    ):
        sizes = [check_integer("size", size, minimum=1)]
        sizes += [check_integer("hidden_sizes", own, minimum=1) for own in hidden_sizes]
        self.condition_size = check_integer("condition_size", condition_size, minimum=0)
        pairs = list(zip(sizes, [*sizes[1:], size], strict=True))
        keys = jax.random.split(key, 3 * len(pairs))
        clock = 1 + condition_size
        self.layers = tuple(eqx.nn.Linear(a, b, key=k) for (a, b), k in zip(pairs, keys[0::3], strict=True))
        self.gates = tuple(
            eqx.nn.Linear(clock, b, key=k) for (_, b), k in zip(pairs, keys[1::3], strict=True)
        )
        self.shifts = tuple(
            eqx.nn.Linear(clock, b, use_bias=False, key=k)
            for (_, b), k in zip(pairs, keys[2::3], strict=True)
        )

    def __call__(self, t: Scalar, x: Point, condition: Condition = None) -> Point:
        """dx/dt."""
        _check_size(x, self.layers[0].in_features)
        clock = _clock(t, condition, self.condition_size)
        for index, (layer, gate, shift) in enumerate(zip(self.layers, self.gates, self.shifts, strict=True)):
            x = jnp.tanh(x) if index else x
            x = layer(x) * jax.nn.sigmoid(gate(clock)) + shift(clock)
        return x


def _check_size(x: Point, size: Any) -> None:
    if x.shape != (size,):
        raise ArgumentError(f"the field is one of points of shape ({size},), got {x.shape}")


def _clock(t: Scalar, condition: Condition, condition_size: int) -> Float[Array, "clock"]:
    """Time and condition as one vector.

    Raises:
        ArgumentError: if the condition has another size than the field was made for.
    """
    given = 0 if condition is None else condition.size
    if given != condition_size:
        raise ArgumentError(f"the field takes a condition of {condition_size} entries, got {given}")
    t = jnp.reshape(t, 1)
    return t if condition is None else jnp.concatenate([t, condition.ravel().astype(t.dtype)])
