"""From a field on any pytree to one on a flat real vector, with all it closes over made explicit."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from backthrough.core import ArgumentError, PyTree
from backthrough.ode.setting import FlatField


class Flat(NamedTuple):
    """A flat initial value problem.

    Attributes:
        field: On flat states.
        y0: Flat initial state, shape (size,).
        leaves: The arrays in the field, its closure and `args`.
        unflatten: From `(..., size)` back to the pytree.
    """

    field: FlatField
    y0: Array
    leaves: list[Any]
    unflatten: Callable[[Array], PyTree]


def flatten(field: Callable[..., PyTree], y0: PyTree, args: PyTree) -> Flat:
    """The flat problem; complex numbers become pairs of real ones.

    Raises:
        ArgumentError: naming the leaf of `y0` that is not floating, or that the field does not match.
    """
    y0 = check_state(y0)
    paths, tree = jax.tree_util.tree_flatten_with_path(y0)
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for _, leaf in paths]
    y0 = jax.tree_util.tree_unflatten(tree, [leaf for _, leaf in paths])
    flat = to_flat(y0)
    time = jnp.zeros((), flat.dtype)
    check_field(field, time, y0, args)
    closed = eqx.filter_closure_convert(lambda t, y, args: field(t, y, args), time, y0, args)
    arrays, static = eqx.partition((closed, args), eqx.is_array)
    leaves, structure = jax.tree_util.tree_flatten(arrays)

    def unflatten(values: Array) -> PyTree:
        return jax.tree_util.tree_unflatten(tree, split(values, shapes))

    def flat_field(t: Array, y: Array, leaves: Sequence[Any]) -> Array:
        function, args = eqx.combine(jax.tree_util.tree_unflatten(structure, leaves), static)
        return to_flat(function(t, unflatten(y), args))

    return Flat(flat_field, flat, leaves, unflatten)


def check_state(y0: PyTree) -> PyTree:
    """`y0` with JAX arrays as leaves, all of one precision."""
    paths, tree = jax.tree_util.tree_flatten_with_path(y0)
    if not paths:
        raise ArgumentError("y0 has no arrays")
    leaves = []
    for path, leaf in paths:
        name = f"y0{jax.tree_util.keystr(path)}"
        if isinstance(leaf, (bool, int)) or not isinstance(
            leaf, (float, complex, np.ndarray, np.generic, jax.Array)
        ):
            raise ArgumentError(f"{name} must be a floating-point array, got {leaf!r}")
        dtype = getattr(leaf, "dtype", type(leaf))
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ArgumentError(f"{name} must be a floating-point array, got one of {dtype}")
        if not isinstance(leaf, Tracer) and not np.isfinite(np.asarray(leaf)).all():
            raise ArgumentError(f"{name} is not finite: {leaf}")
        leaves.append(jnp.asarray(leaf))
    kinds = {jnp.finfo(leaf.dtype).dtype for leaf in leaves}
    if len(kinds) > 1:
        raise ArgumentError(
            f"all leaves of y0 must have one precision, got {', '.join(sorted(map(str, kinds)))}"
        )
    if not any(leaf.size for leaf in leaves):
        raise ArgumentError("y0 has no entries: all of its arrays are empty")
    return jax.tree_util.tree_unflatten(tree, leaves)


def check_field(field: Callable[..., PyTree], time: Array, y0: PyTree, args: PyTree) -> None:
    """Raises `ArgumentError` unless the field returns what `y0` is."""
    if not callable(field):
        raise ArgumentError(f"field must be a function field(t, y, args) -> dy/dt, got {field!r}")
    check_takes("field", field)
    out = eqx.filter_eval_shape(field, time, y0, args)
    expected, got = jax.tree_util.tree_structure(y0), jax.tree_util.tree_structure(out)
    if expected != got:
        raise ArgumentError(f"the field must return the structure of y0, {expected}, but returned {got}")
    for (path, leaf), value in zip(
        jax.tree_util.tree_leaves_with_path(y0), jax.tree_util.tree_leaves(out), strict=True
    ):
        keys = jax.tree_util.keystr(path)
        name = f"leaf {keys} of the state" if keys else "the state"
        if not isinstance(value, (bool, int, float, complex, np.ndarray, jax.ShapeDtypeStruct)):
            raise ArgumentError(f"the field returned {value!r} for {name}")
        shape, dtype = jnp.shape(value), jnp.result_type(value)
        if shape != leaf.shape:
            raise ArgumentError(f"the field returned shape {shape} for {name}, whose shape is {leaf.shape}")
        if dtype != leaf.dtype:
            raise ArgumentError(f"the field returned {dtype} for {name}, which is {leaf.dtype}")


def check_takes(name: str, function: Callable[..., Any]) -> None:
    """Raises `ArgumentError` unless `function` can be called with time, state and args."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables have none
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise ArgumentError(
            f"{name} must be callable as {name}(t, y, args), but takes {signature}: {error}"
        ) from None


def to_flat(tree: PyTree) -> Array:
    """All entries of a pytree as one real vector."""
    parts = []
    for leaf in jax.tree_util.tree_leaves(tree):
        leaf = jnp.ravel(leaf)
        parts += [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def split(values: Array, shapes: Sequence[jax.ShapeDtypeStruct]) -> list[Array]:
    """The arrays of these shapes in vectors `(..., size)`."""
    leading = values.shape[:-1]
    leaves, at = [], 0
    for shape in shapes:
        parts = []
        for _ in range(2 if jnp.issubdtype(shape.dtype, jnp.complexfloating) else 1):
            parts.append(values[..., at : at + shape.size])
            at += shape.size
        flat = parts[0] if len(parts) == 1 else jax.lax.complex(*parts)
        leaves.append(flat.reshape(*leading, *shape.shape))
    return leaves
