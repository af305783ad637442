"""Couplings of a point with auxiliary variables (Cremer, Li and Duvenaud 2018)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar, check_integer, check_key
from backthrough.flows.bijection import Bijection, Chain, Condition, Point, check_condition, check_point

Part = Float[Array, "half"]


class AuxiliaryCoupling(Bijection):
    """v' = v sigmoid(a1(z)) + m1(z), then z' = z sigmoid(a2(v')) + m2(v').

    A coupling needs two parts; the auxiliary v, as long as z, is the second one, so that all of z moves at
    once. A point is z followed by v, shape (2 * size,). The four functions see the condition too.

    Attributes:
        size: Entries of z, and of v.
        condition_size: Entries of the condition; 0 for none.
        from_z: (z, condition) -> a1 and m1.
        from_v: (v', condition) -> a2 and m2.
    """

    size: int = eqx.field(static=True)
    condition_size: int = eqx.field(static=True)
    from_z: eqx.nn.MLP
    from_v: eqx.nn.MLP

    def __init__(self, size: int, *, hidden_size: int = 200, condition_size: int = 0, key: PRNGKey):
        self.size = check_integer("size", size, minimum=1)
        self.condition_size = check_integer("condition_size", condition_size, minimum=0)
        check_integer("hidden_size", hidden_size, minimum=1)
        check_key(key)
        self.from_z, self.from_v = (
            eqx.nn.MLP(size + condition_size, 2 * size, hidden_size, 1, jax.nn.elu, key=own)
            for own in jax.random.split(key)
        )

    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """(z', v') and log |det d(z', v')/d(z, v)|."""
        z, v = self._parts(x, condition)
        log_scale, shift = self._map(self.from_z, z, condition)
        v = v * jnp.exp(log_scale) + shift
        log_scale_z, shift_z = self._map(self.from_v, v, condition)
        z = z * jnp.exp(log_scale_z) + shift_z
        return jnp.concatenate([z, v]), jnp.sum(log_scale) + jnp.sum(log_scale_z)

    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """(z, v) and log |det d(z, v)/d(z', v')|."""
        z, v = self._parts(y, condition)
        log_scale_z, shift_z = self._map(self.from_v, v, condition)
        z = (z - shift_z) * jnp.exp(-log_scale_z)
        log_scale, shift = self._map(self.from_z, z, condition)
        v = (v - shift) * jnp.exp(-log_scale)
        return jnp.concatenate([z, v]), -jnp.sum(log_scale) - jnp.sum(log_scale_z)

    def _parts(self, x: Point, condition: Condition) -> tuple[Part, Part]:
        check_point(x, 2 * self.size)
        check_condition(condition, (self.condition_size,))
        return x[: self.size], x[self.size :]

    def _map(self, network: eqx.nn.MLP, part: Part, condition: Condition) -> tuple[Part, Part]:
        """log sigmoid(a) = -softplus(-a), which is finite for every a, and m."""
        seen = part if condition is None else jnp.concatenate([part, condition.astype(part.dtype)])
        a, shift = jnp.split(network(seen), 2)
        return -jax.nn.softplus(-a), shift


def auxiliary_coupling_flow(
    size: int, depth: int = 2, *, hidden_size: int = 200, condition_size: int = 0, key: PRNGKey
) -> Chain:
    """`depth` auxiliary couplings one after another, of points of shape (2 * size,).

    Raises:
        ArgumentError: if a size or `depth` is below 1, or `condition_size` below 0.
    """
    check_integer("depth", depth, minimum=1)
    check_key(key)
    options = {"hidden_size": hidden_size, "condition_size": condition_size}
    return Chain([AuxiliaryCoupling(size, **options, key=own) for own in jax.random.split(key, depth)])
