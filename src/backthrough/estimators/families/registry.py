"""Which family a distribution belongs to."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from backthrough.core import ArgumentError, PyTree
from backthrough.estimators.families.bernoulli import BernoulliFamily
from backthrough.estimators.families.categorical import CategoricalFamily, OneHotFamily
from backthrough.estimators.families.family import Family, FiniteFamily
from backthrough.estimators.families.joint import Joint, Parts
from backthrough.estimators.families.normal import NormalFamily
from backthrough.estimators.families.one_hot import OneHotCategorical
from backthrough.estimators.families.parameters import at_least_single

_FAMILIES: dict[type, Family] = {
    dist.BernoulliLogits: BernoulliFamily(),
    dist.BernoulliProbs: BernoulliFamily(),
    dist.CategoricalLogits: CategoricalFamily(),
    dist.CategoricalProbs: CategoricalFamily(),
    OneHotCategorical: OneHotFamily(),
    dist.Normal: NormalFamily(),
}


def register_family(kind: type[dist.Distribution], family: Family) -> None:
    """Makes a class of numpyro distributions known to `expect` and all that builds on it.

    Every estimator whose `properties.families` has a class of which `family` is an instance takes such
    distributions from then on. What is registered later replaces what was registered for the same class, and
    holds for the rest of the process.

    Args:
        kind: A class of distributions; also holds for classes derived from it, unless they have their own.
        family: An object of a class derived from `Family`.

    Raises:
        ArgumentError: if `kind` is no class of distributions (`numpyro.distributions.Bernoulli` is a function
            that makes one of two) or `family` no family.
    """
    if not (isinstance(kind, type) and issubclass(kind, dist.Distribution)):
        raise ArgumentError(f"kind must be a class of numpyro distributions such as Poisson, got {kind!r}")
    if not isinstance(family, Family):
        raise ArgumentError(f"family must be an object of a class derived from Family, got {family!r}")
    _FAMILIES[kind] = family


def names_of(kinds: tuple[type[Family], ...]) -> str:
    """The names of the families that are of one of these kinds."""
    return ", ".join(dict.fromkeys(own.name for own in _FAMILIES.values() if isinstance(own, kinds)))


def read_distribution(distribution: PyTree) -> tuple[Joint, Parts]:
    """The variables of a distribution or a pytree of independent ones, and their parameters.

    Raises:
        ArgumentError: if there is none, or one of a family that is not known here.
    """
    leaves, structure = jax.tree_util.tree_flatten(distribution, is_leaf=_is_distribution)
    if not leaves:
        raise ArgumentError("dist has no distribution in it")
    leaves = [_base(leaf) for leaf in leaves]
    families = tuple(_family(leaf) for leaf in leaves)
    params = [family.read(leaf) for family, leaf in zip(families, leaves, strict=True)]
    dtypes = tuple(jnp.result_type(*jax.tree_util.tree_leaves(own)) for own in params)
    return Joint(families, structure, dtypes), jax.tree_util.tree_map(at_least_single, params)


def read_given_probs(distribution: PyTree) -> tuple[Any, ...]:
    """For each distribution the probabilities that it was made from, where it was."""
    found = []
    for leaf in jax.tree_util.tree_leaves(distribution, is_leaf=_is_distribution):
        base = _base(leaf)
        family = _family(base)
        probs = family.given_probs(base) if isinstance(family, FiniteFamily) else None
        found.append(None if probs is None else at_least_single(probs))
    return tuple(found)


def _is_distribution(node: object) -> bool:
    return isinstance(node, dist.Distribution)


def _base(leaf: Any) -> Any:
    """Without `to_event`, which is only a matter of shapes: all entries are independent."""
    while isinstance(leaf, dist.Independent):
        leaf = leaf.base_dist
    return leaf


def _family(leaf: object) -> Family:
    for kind in type(leaf).__mro__:  # the class itself first
        if kind in _FAMILIES:
            return _FAMILIES[kind]
    if isinstance(leaf, dist.ExpandedDistribution):
        raise ArgumentError(
            "dist has an expanded distribution; give its parameters in full shape, as in "
            "Normal(jnp.zeros(3), jnp.ones(3))"
        )
    name = type(leaf).__name__
    if isinstance(leaf, dist.Distribution):
        raise ArgumentError(
            f"dist must be made of {names_of((Family,))}; got {name}. register_family adds another family"
        )
    raise ArgumentError(
        f"dist must be a numpyro distribution or a pytree of them; got {name}, such as numbers, in it"
    )
