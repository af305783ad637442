"""Normal variables, which need no relaxation."""

from typing import Any, ClassVar, NoReturn

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.estimators.family import Family
from backthrough.estimators.reading import parameter

Values = Float[Array, "..."]
Params = tuple[Values, Values]


class Normal(Family):
    """b = z = loc + scale * noise. The parameters are loc and scale, of one shape."""

    name: ClassVar[str] = "Normal"
    discrete: ClassVar[bool] = False

    def read(self, distribution: Any) -> Params:
        """Loc and scale, broadcast to one shape."""
        loc = parameter("loc of Normal", distribution.loc)
        scale = parameter("scale of Normal", distribution.scale)
        loc, scale = jnp.broadcast_arrays(loc, scale)
        return loc, scale

    def noise(self, params: Params, *, key: PRNGKey) -> Values:
        """Standard normal noise."""
        return jax.random.normal(key, params[0].shape, params[0].dtype)

    def relax(self, params: Params, noise: Values) -> Values:
        """loc + scale * noise."""
        return params[0] + params[1] * noise

    def harden(self, z: Values) -> Values:
        """z itself."""
        return z

    def soften(self, z: Values, temperature: Scalar) -> Values:
        """z itself."""
        return z

    def condition(self, params: Params, b: Values, noise: Values) -> Values:
        """b itself, held fixed: given b nothing is left to draw."""
        return jax.lax.stop_gradient(b)

    def couple(self, params: Params, z: Values) -> Values:
        """Noise that is not used."""
        return z

    def log_prob(self, params: Params, b: Values) -> Scalar:
        """The sum of log N(b; loc, scale^2)."""
        loc, scale = params
        standard = (b - loc) / scale
        return -jnp.sum(0.5 * jnp.square(standard) + jnp.log(scale) + 0.5 * jnp.log(2 * jnp.pi))

    def given_probs(self, distribution: Any) -> None:
        """None: there are uncountably many outcomes."""
        return None

    def outcome_probs(self, params: Params) -> NoReturn:
        """Uncountably many."""
        raise NotImplementedError

    def outcomes(self, params: Params) -> NoReturn:
        """Uncountably many."""
        raise NotImplementedError

    def decode(self, params: Params, codes: PyTree) -> NoReturn:
        """Uncountably many."""
        raise NotImplementedError
