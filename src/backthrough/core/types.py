"""Array and key types used in signatures throughout the library."""

from typing import Any, TypeAlias

from jaxtyping import Array, Float, Key

Scalar: TypeAlias = Float[Array, ""]
"""A floating-point scalar array."""

PRNGKey: TypeAlias = Key[Array, ""]
"""One typed random key, as made by `jax.random.key`."""

PyTree: TypeAlias = Any
"""Any nested structure of arrays."""
