"""Independent variables of one or several distributions, as one."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar
from backthrough.estimators.bernoulli import Bernoulli
from backthrough.estimators.categorical import Index, OneHot
from backthrough.estimators.family import Family
from backthrough.estimators.normal import Normal
from backthrough.estimators.one_hot import OneHotCategorical
from backthrough.estimators.reading import at_least_single

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
        dtypes: Those of the distributions' parameters, and so of samples for f. Below single precision
            everything else is computed in single precision: a uniform number of half precision reaches no
            small probability.
    """

    families: tuple[Family, ...]
    structure: Any = eqx.field(static=True)
    dtypes: tuple[Any, ...] = eqx.field(static=True)

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

    def outcome_probabilities(self, params: Parts, given: Sequence[Any]) -> Float[Array, "outcome"]:
        """The probability of every b, in the order of `all_outcomes`; from those given where they are."""
        product = jnp.ones(1)
        for family, own, probs in zip(self.families, params, given, strict=True):
            table = family.outcome_probs(own) if probs is None else probs
            for row in table:
                product = (product.astype(row.dtype)[:, None] * row).ravel()
        return product

    def present(self, parts: Parts) -> PyTree:
        """What a control variate gets: the parts in the structure of a sample."""
        return jax.tree_util.tree_unflatten(self.structure, parts)

    def present_sample(self, b: Parts) -> PyTree:
        """What f gets: a sample of the distributions' own types."""
        return self.present(
            [
                own.astype(dtype) if jnp.issubdtype(own.dtype, jnp.floating) else own
                for own, dtype in zip(b, self.dtypes, strict=True)
            ]
        )

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
    families, params, dtypes = [], [], []
    for leaf in leaves:
        while isinstance(leaf, dist.Independent):  # only a matter of shapes: all entries are independent
            leaf = leaf.base_dist
        family = _family(leaf)
        families.append(family)
        own = family.read(leaf)
        dtypes.append(jnp.result_type(*jax.tree_util.tree_leaves(own)))
        params.append(jax.tree_util.tree_map(at_least_single, own))
    return Joint(tuple(families), structure, tuple(dtypes)), params


def read_given_probs(distribution: PyTree) -> tuple[Any, ...]:
    """For each distribution the probabilities that it was made from, where it was."""
    found = []
    for leaf in jax.tree_util.tree_leaves(
        distribution, is_leaf=lambda node: isinstance(node, dist.Distribution)
    ):
        while isinstance(leaf, dist.Independent):
            leaf = leaf.base_dist
        probs = _family(leaf).given_probs(leaf)
        found.append(None if probs is None else at_least_single(probs))
    return tuple(found)


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
