"""Hamiltonian Monte Carlo between q and the posterior (Neal 2011, "MCMC using Hamiltonian dynamics")."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.latent.bounds import log_joint
from backthrough.latent.protocols import Data, Latent, LatentModel, Posterior


class Point(NamedTuple):
    """A position, and both log-densities and their gradients there.

    Attributes:
        u: Position in whitened coordinates, z = location + scale * u.
        log_base: log q(z).
        log_joint: log p(x, z).
        base_gradient: Of log q by u.
        joint_gradient: Of log p(x, z) by u.
    """

    u: Latent
    log_base: Scalar
    log_joint: Scalar
    base_gradient: Latent
    joint_gradient: Latent

    @property
    def log_weight(self) -> Float[Array, "..."]:
        """log p(x, z) - log q(z); of many points for many."""
        return self.log_joint - self.log_base

    def log_density(self, temperature: Scalar) -> Scalar:
        """log of q^(1-t) p(x, z)^t."""
        return (1 - temperature) * self.log_base + temperature * self.log_joint

    def gradient(self, temperature: Scalar) -> Latent:
        """That of `log_density` by u."""
        return (1 - temperature) * self.base_gradient + temperature * self.joint_gradient


class Bridge(NamedTuple):
    """What lies between a base distribution and p(x, z), in coordinates in which the base is about N(0, I).

    Attributes:
        model: p(x, z).
        x: The example.
        base: With `log_prob`.
        location: Mean of the base, shape (latent,).
        scale: Its standard deviations, shape (latent,).
    """

    model: LatentModel
    x: Data
    base: Posterior
    location: Float[Array, "latent"]
    scale: Float[Array, "latent"]

    def at(self, u: Latent) -> Point:
        """Densities and gradients at one position, all in its type, which is not below single precision."""

        def log_base(u: Latent) -> Scalar:
            return self.base.log_prob(self.z(u)).astype(u.dtype)  # pyright: ignore[reportAttributeAccessIssue]

        def log_target(u: Latent) -> Scalar:
            return log_joint(self.model, self.x, self.z(u)).astype(u.dtype)

        base, base_gradient = jax.value_and_grad(log_base)(u)
        joint, joint_gradient = jax.value_and_grad(log_target)(u)
        return Point(u, base, joint, base_gradient, joint_gradient)

    def at_z(self, z: Latent) -> Point:
        """The same at a z."""
        return self.at(((z - self.location) / self.scale).astype(jnp.result_type(float)))

    def z(self, u: Latent) -> Latent:
        """Of a position, in the type of the base's own draws."""
        return self.location + self.scale * u.astype(self.location.dtype)


def leapfrog(
    bridge: Bridge, start: Point, momentum: Latent, temperature: Scalar, step_size: Scalar, n_steps: int
) -> tuple[Point, Latent]:
    """`n_steps` leapfrog steps: reversible, and keeps volumes (Neal 2011, eqs. 5.18-5.20)."""

    def step(_: Array, carry: tuple[Point, Latent]) -> tuple[Point, Latent]:
        point, momentum = carry
        momentum = momentum + 0.5 * step_size * point.gradient(temperature)
        point = bridge.at(point.u + step_size * momentum)
        return point, momentum + 0.5 * step_size * point.gradient(temperature)

    return jax.lax.fori_loop(0, n_steps, step, (start, momentum))


def hmc_step(
    bridge: Bridge, start: Point, temperature: Scalar, step_size: Scalar, n_steps: int, *, key: PRNGKey
) -> tuple[Point, Scalar]:
    """One transition that leaves q^(1-t) p(x, z)^t as it is, and the probability it was accepted with.

    The step size is drawn between a half and the whole of `step_size`, so that trajectories do not all go
    round and end where they began. A proposal at which anything is NaN is rejected.
    """
    momentum_key, accept_key, size_key = jax.random.split(key, 3)
    step_size = step_size * jax.random.uniform(size_key, dtype=step_size.dtype, minval=0.5)
    momentum = jax.random.normal(momentum_key, start.u.shape, start.u.dtype)
    end, last_momentum = leapfrog(bridge, start, momentum, temperature, step_size, n_steps)
    log_ratio = end.log_density(temperature) - 0.5 * jnp.sum(jnp.square(last_momentum))
    log_ratio -= start.log_density(temperature) - 0.5 * jnp.sum(jnp.square(momentum))
    accept = jnp.log(jax.random.uniform(accept_key, dtype=log_ratio.dtype)) < log_ratio  # not if it is NaN
    point = jax.tree_util.tree_map(lambda new, old: jnp.where(accept, new, old), end, start)
    chance = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
    return point, chance
