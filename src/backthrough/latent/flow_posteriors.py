"""Posteriors that a bijection makes of a factorised Gaussian, and the encoders that predict them."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.flows import Bijection, Flow
from backthrough.latent.gaussian import FactorisedGaussian, centred, standard_normal_log_prob
from backthrough.latent.protocols import Latent

Numbers = Float[Array, "numbers"]
Condition = Float[Array, "condition"]


class FlowEncoder(eqx.Module):
    """Maps one example to a `Flow` from N(mean, diag(exp(log_scale))**2), all three of them from the network.

    Rezende and Mohamed 2015; with a condition as in Kingma et al. 2016.

    Attributes:
        network: Maps the flattened, centred example to (2 * latent + condition,): means, log standard
            deviations, then the condition of the bijection, if it takes one.
        bijection: Of points of shape (latent,), the same one for all examples.
        data_mean: Subtracted from the example first, shape (data,).
        latent_size: Length of z.
    """

    network: Callable[[Float[Array, "data"]], Numbers]
    bijection: Bijection
    data_mean: Float[Array, "data"]
    latent_size: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Flow:
        """q(z | x).

        Raises:
            ArgumentError: if the example or the network's result has another size.
        """
        base, condition = _base(self.network(centred(x, self.data_mean)), self.latent_size, "FlowEncoder")
        return Flow(base, self.bijection, condition)


class AuxiliaryFlow(eqx.Module):
    """q(z | x) as one part of what a bijection makes of (z0, v0): the other part, v, is integrated out.

    z0 comes from a Gaussian, the auxiliary v0 from N(0, I), and r(v | z, x), a factorised Gaussian, guesses v
    from z. What stands for log q(z | x) is

        log q(z0 | x) + log N(v0; 0, I) - log |det| - log r(v | z, x),

    so that the bound is that of Cremer et al. 2018, eq. 11 (with its published correction). It is
    the ELBO less E KL(q(v | z, x) || r(v | z, x)); a weight's mean is p(x) whatever r is. The density of z
    alone is not known: there is no `log_prob`.

    Attributes:
        base: q(z0 | x).
        bijection: Of points of shape (2 * latent,), z before v, such as `flows.auxiliary_coupling_flow`.
        reverse: Maps z and the condition, one behind the other, to (2 * latent,): means and log standard
            deviations of v.
        condition: Given to bijection and `reverse`; None for none.
    """

    base: FactorisedGaussian
    bijection: Bijection
    reverse: Callable[[Float[Array, "seen"]], Numbers]
    condition: Condition | None = None

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Latent, Scalar]:
        """One reparameterised z, and what stands for log q(z | x): on average no less than it."""
        base_key, auxiliary_key, noise_key = jax.random.split(key, 3)
        z, log_q = self.base.sample_and_log_prob(key=base_key)
        v = jax.random.normal(auxiliary_key, z.shape, z.dtype)
        log_q += standard_normal_log_prob(v)
        both = jnp.concatenate([z, v])
        both, log_det = self.bijection.transform_and_log_det(both, self.condition, key=noise_key)
        z, v = jnp.split(both, 2)
        return z, log_q - log_det - self._guess(z).log_prob(v)

    def _guess(self, z: Latent) -> FactorisedGaussian:
        """r(v | z, x)."""
        numbers = self.reverse(z if self.condition is None else jnp.concatenate([z, self.condition]))
        if numbers.shape != (2 * z.size,):
            raise ArgumentError(
                f"reverse of AuxiliaryFlow must return 2 * latent = {2 * z.size} numbers, means and log "
                f"standard deviations of v, got shape {numbers.shape}"
            )
        return FactorisedGaussian(*jnp.split(numbers, 2))


class AuxiliaryFlowEncoder(eqx.Module):
    """Maps one example to an `AuxiliaryFlow`.

    Attributes:
        network: Maps the flattened, centred example to (2 * latent + condition,): means and log standard
            deviations of z0, then the condition, if there is one.
        bijection: Of points of shape (2 * latent,), the same one for all examples.
        reverse: As that of `AuxiliaryFlow`.
        data_mean: Subtracted from the example first, shape (data,).
        latent_size: Length of z.
    """

    network: Callable[[Float[Array, "data"]], Numbers]
    bijection: Bijection
    reverse: Callable[[Float[Array, "seen"]], Numbers]
    data_mean: Float[Array, "data"]
    latent_size: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> AuxiliaryFlow:
        """q(z | x).

        Raises:
            ArgumentError: if the example or the network's result has another size.
        """
        numbers = self.network(centred(x, self.data_mean))
        base, condition = _base(numbers, self.latent_size, "AuxiliaryFlowEncoder")
        return AuxiliaryFlow(base, self.bijection, self.reverse, condition)


def _base(numbers: Numbers, size: int, name: str) -> tuple[FactorisedGaussian, Condition | None]:
    """The Gaussian and the condition that a network's result stands for."""
    if numbers.size < 2 * size:
        raise ArgumentError(
            f"the network of {name} must return at least 2 * latent = {2 * size} numbers, got {numbers.size}"
        )
    mean, log_scale, condition = jnp.split(numbers, [size, 2 * size])
    return FactorisedGaussian(mean, log_scale), condition if condition.size else None
