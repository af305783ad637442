"""Independent variables of one or several distributions, as one."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.estimators.families.family import RelaxedFamily, SoftFamily

Parts = list[PyTree]
"""One entry for each distribution."""


class Joint(eqx.Module):
    """Several families side by side; the methods of `Family`, each on a list with one entry a family.

    What not every family has is there if the estimator says in its `properties` that it asks for it. A
    reparameterised family has no z beside b: z is b.

    Attributes:
        families: A `Family` for each distribution, in the order of the pytree.
        structure: How a sample is put together for f.
        dtypes: Those of the distributions' parameters, and so of samples for f. Below single precision
            everything else is computed in single precision: a uniform number of half precision reaches no
            small probability.
    """

    families: tuple[Any, ...]
    structure: Any = eqx.field(static=True)
    dtypes: tuple[Any, ...] = eqx.field(static=True)

    def noise(self, params: Parts, *, key: PRNGKey) -> Parts:
        """Noise for each."""
        keys = self._keys(key)
        return [family.noise(own, key=k) for family, own, k in zip(self.families, params, keys, strict=True)]

    def relax(self, params: Parts, noise: Parts) -> Parts:
        """z = z(params, noise)."""
        return [family.relax(*own) for family, *own in zip(self.families, params, noise, strict=True)]

    def harden(self, z: Parts) -> Parts:
        """b = H(z)."""
        return [
            family.harden(own) if isinstance(family, RelaxedFamily) else own
            for family, own in zip(self.families, z, strict=True)
        ]

    def soften(self, z: Parts, temperature: Scalar) -> Parts:
        """A continuous stand-in for b."""
        return [
            family.soften(own, temperature) if isinstance(family, SoftFamily) else own
            for family, own in zip(self.families, z, strict=True)
        ]

    def condition(self, params: Parts, b: Parts, noise: Parts) -> Parts:
        """z given b, where nothing is left to draw if z is b."""
        return [
            family.condition(own, part, k)
            if isinstance(family, RelaxedFamily)
            else jax.lax.stop_gradient(part)
            for family, own, part, k in zip(self.families, params, b, noise, strict=True)
        ]

    def couple(self, params: Parts, z: Parts) -> Parts:
        """The noise for which `condition` returns `z`."""
        return [
            family.couple(own, part) if isinstance(family, RelaxedFamily) else part
            for family, own, part in zip(self.families, params, z, strict=True)
        ]

    def sample(self, params: Parts, *, key: PRNGKey) -> Parts:
        """One b."""
        keys = self._keys(key)
        return [family.sample(own, key=k) for family, own, k in zip(self.families, params, keys, strict=True)]

    def log_prob(self, params: Parts, b: Parts) -> Scalar:
        """log p(b)."""
        return sum(  # type: ignore[return-value]
            family.log_prob(*own) for family, *own in zip(self.families, params, b, strict=True)
        )

    def score(self, params: Parts, b: Parts) -> Parts:
        """The gradient of log p(b) with respect to the parameters."""
        return jax.grad(self.log_prob)(params, b)

    def n_outcomes(self, params: Parts) -> int:
        """How many values b can take, when all families are finite."""
        return math.prod(size**count for count, size in self._tables(params))

    def all_outcomes(self, params: Parts) -> Parts:
        """Every b, along a leading axis."""
        tables = self._tables(params)
        sizes = [size for count, size in tables for _ in range(count)]
        digits = jnp.stack(jnp.unravel_index(jnp.arange(math.prod(sizes)), sizes))

        def decode(codes: Int[Array, "variable"]) -> Parts:
            parts, start = [], 0
            for family, own, (count, _) in zip(self.families, params, tables, strict=True):
                parts.append(family.decode(own, codes[start : start + count]))
                start += count
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

    def _keys(self, key: PRNGKey) -> Any:
        """A key for each family."""
        return jax.random.split(key, len(self.families)) if len(self.families) > 1 else [key]

    def _tables(self, params: Parts) -> list[tuple[int, ...]]:
        """How many variables each distribution has, and how many outcomes each variable."""
        both = zip(self.families, params, strict=True)
        return [jax.eval_shape(family.outcome_probs, own).shape for family, own in both]
