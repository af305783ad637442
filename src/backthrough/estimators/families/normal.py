"""Normal variables, which need no relaxation."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.families.family import ReparameterisedFamily, WeakDerivativeFamily
from backthrough.estimators.families.parameters import parameter

Values = Float[Array, "..."]
Params = tuple[Values, Values]


class NormalFamily(ReparameterisedFamily, WeakDerivativeFamily):
    """b = loc + scale * noise. The parameters are loc and scale, of one shape."""

    name: ClassVar[str] = "Normal"

    def read(self, distribution: Any) -> Params:
        """Loc and scale, broadcast to one shape."""
        loc = parameter("loc of Normal", distribution.loc)
        scale = parameter("scale of Normal", distribution.scale)
        loc, scale = jnp.broadcast_arrays(loc, scale)
        return loc, scale

    def sample(self, params: Params, *, key: PRNGKey) -> Values:
        """loc + scale * noise."""
        return self.relax(params, self.noise(params, key=key))

    def log_prob(self, params: Params, b: Values) -> Scalar:
        """The sum of log N(b; loc, scale^2)."""
        loc, scale = params
        standard = (b - loc) / scale
        return -jnp.sum(0.5 * jnp.square(standard) + jnp.log(scale) + 0.5 * jnp.log(2 * jnp.pi))

    def noise(self, params: Params, *, key: PRNGKey) -> Values:
        """Standard normal noise."""
        return jax.random.normal(key, params[0].shape, params[0].dtype)

    def relax(self, params: Params, noise: Values) -> Values:
        """loc + scale * noise."""
        return params[0] + params[1] * noise

    def weak_derivative(self, params: Params, *, key: PRNGKey) -> tuple[Params, Params, Params]:
        """Rayleigh to both sides for the mean; double-sided Maxwell against normal for the scale.

        Mohamed et al. 2020, sec. 6; the normal variable is the Maxwell one times a uniform number.
        """
        loc, scale = params
        keys = jax.random.split(key, 4)
        rayleigh = jnp.sqrt(-2 * jnp.log1p(-jax.random.uniform(keys[0], loc.shape, loc.dtype)))
        three = jax.random.normal(keys[1], (3, *loc.shape), loc.dtype)
        maxwell = jnp.linalg.norm(three, axis=0) * jax.random.rademacher(keys[2], loc.shape, loc.dtype)
        normal = maxwell * jax.random.uniform(keys[3], loc.shape, loc.dtype)
        factors = (1 / (scale * jnp.sqrt(2 * jnp.pi)), 1 / scale)
        first = (self.relax(params, rayleigh), self.relax(params, maxwell))
        second = (self.relax(params, -rayleigh), self.relax(params, normal))
        return factors, first, second
