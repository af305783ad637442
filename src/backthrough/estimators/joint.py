"""Independent variables of one or several distributions, as one."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Int

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar
from backthrough.estimators.bernoulli import Bernoulli
from backthrough.estimators.categorical import Index, OneHot
from backthrough.estimators.family import Family
from backthrough.estimators.normal import Normal
from backthrough.estimators.one_hot import OneHotCategorical

FAMILIES: tuple[tuple[Any, Family], ...] = (
    ((dist.BernoulliLogits, dist.BernoulliProbs), Bernoulli()),
    ((dist.CategoricalLogits, dist.CategoricalProbs), Index()),
    (OneHotCategorical, OneHot()),
    (dist.Normal, Normal()),
)
FAMILY_NAMES = tuple(family.name for _, family in FAMILIES)

Parts = list[PyTree]
"""One entry for each distribution."""


class Joint(eqx.Module):
    """Several families side by side; the methods of `Family`, each on a list with one entry a family.

    Attributes:
        families: Those of the distributions, in the order of the pytree.
        structure: How a sample is put together for f.
    """

    families: tuple[Family, ...]
    structure: Any = eqx.field(static=True)

    def noise(self, params: Parts, *, key: PRNGKey) -> Parts:
        """Noise for each."""
        keys = jax.random.split(key, len(self.families)) if len(self.families) > 1 else [key]
        return [family.noise(own, key=k) for family, own, k in zip(self.families, params, keys, strict=True)]

    def relax(self, params: Parts, noise: Parts) -> Parts:
        """z = z(params, noise)."""
        return [family.relax(*own) for family, *own in zip(self.families, params, noise, strict=True)]

    def harden(self, z: Parts) -> Parts:
        """b = H(z)."""
        return [family.harden(own) for family, own in zip(self.families, z, strict=True)]

    def soften(self, z: Parts, temperature: Scalar) -> Parts:
        """A continuous stand-in for b."""
        return [family.soften(own, temperature) for family, own in zip(self.families, z, strict=True)]

    def condition(self, params: Parts, b: Parts, noise: Parts) -> Parts:
        """z given b."""
        return [family.condition(*own) for family, *own in zip(self.families, params, b, noise, strict=True)]

    def couple(self, params: Parts, z: Parts) -> Parts:
        """The noise for which `condition` returns `z`."""
        return [family.couple(*own) for family, *own in zip(self.families, params, z, strict=True)]

    def sample(self, params: Parts, *, key: PRNGKey) -> Parts:
        """One b."""
        return self.harden(self.relax(params, self.noise(params, key=key)))

    def log_prob(self, params: Parts, b: Parts) -> Scalar:
        """log p(b)."""
        return sum(  # type: ignore[return-value]
            family.log_prob(*own) for family, *own in zip(self.families, params, b, strict=True)
        )

    def score(self, params: Parts, b: Parts) -> Parts:
        """The gradient of log p(b) with respect to the parameters."""
        return jax.grad(self.log_prob)(params, b)

    def n_outcomes(self, params: Parts) -> int:
        """How many values b can take, when all families are discrete."""
        return math.prod(self._outcomes(params))

    def all_outcomes(self, params: Parts) -> Parts:
        """Every b, along a leading axis."""
        sizes = self._outcomes(params)
        digits = jnp.stack(jnp.unravel_index(jnp.arange(math.prod(sizes)), sizes))

        def decode(codes: Int[Array, "variable"]) -> Parts:
            parts, start = [], 0
            for family, own in zip(self.families, params, strict=True):
                size = len(family.outcomes(own))
                parts.append(family.decode(own, codes[start : start + size]))
                start += size
            return parts

        return jax.vmap(decode, in_axes=1)(digits)

    def present(self, parts: Parts) -> PyTree:
        """What f or a control variate gets."""
        return jax.tree_util.tree_unflatten(self.structure, parts)

    def _outcomes(self, params: Parts) -> tuple[int, ...]:
        return sum((family.outcomes(own) for family, own in zip(self.families, params, strict=True)), ())


def read_distribution(distribution: PyTree) -> tuple[Joint, Parts]:
    """The variables of a distribution or a pytree of independent ones, and their parameters.

    Raises:
        ArgumentError: if there is none, or one of a family that is not known here.
    """
    leaves, structure = jax.tree_util.tree_flatten(
        distribution, is_leaf=lambda node: isinstance(node, dist.Distribution)
    )
    if not leaves:
        raise ArgumentError("dist has no distribution in it")
    families, params = [], []
    for leaf in leaves:
        while isinstance(leaf, dist.Independent):  # only a matter of shapes: all entries are independent
            leaf = leaf.base_dist
        family = _family(leaf)
        families.append(family)
        params.append(family.read(leaf))
    return Joint(tuple(families), structure), params


def _family(leaf: object) -> Family:
    for kinds, family in FAMILIES:
        if isinstance(leaf, kinds):
            return family
    if isinstance(leaf, dist.ExpandedDistribution):
        raise ArgumentError(
            "dist has an expanded distribution; give its parameters in full shape, as in "
            "Normal(jnp.zeros(3), jnp.ones(3))"
        )
    name = type(leaf).__name__
    if isinstance(leaf, dist.Distribution):
        raise ArgumentError(f"dist must be made of {', '.join(FAMILY_NAMES)}; got {name}")
    raise ArgumentError(
        f"dist must be a numpyro distribution or a pytree of them; got {name}, such as numbers, in it"
    )
