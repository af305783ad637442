"""One primitive for programs that know their batch: `vmap` gives them lanes, not vectorised loops.

A loop of adaptive steps vectorised by JAX waits for its slowest member, and copies its whole carry at every
step. Worse, the reverse pass of a vectorised function forms the gradient of shared parameters once for each
member. A primitive of our own is told which of its arguments have a batch axis, in both passes, and so may
drop finished members and sum over the members where the parameters are shared.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.extend.core as jax_core
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.interpreters import ad, batching, mlir

Lanes = tuple[bool, ...] | None
"""For each argument whether it has an axis of lanes; None when the program runs on a single example."""

MOST_COPIES = 2**20  # entries; a larger shared argument is not copied to the lanes of a second vmap


class Program:
    """A function of flat arrays, written twice in one: for one example and for lanes. Compared by identity.

    Every argument and every result has its axis of lanes, if any, where `argument_axes` and `result_axes`
    say; None marks a result that is shared by all lanes.
    """

    def __init__(self) -> None:
        self._traced: dict[Any, jax_core.ClosedJaxpr] = {}

    @abstractmethod
    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The results."""

    @abstractmethod
    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where each argument would have its lanes: 0 or -1."""

    @abstractmethod
    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where each result has its lanes: 0, -1, or None for a result without lanes."""

    @abstractmethod
    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Results and their tangents."""

    def transpose(self, cotangents: Sequence[Any], arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The cotangents of the linear arguments; only for a linear program."""
        raise NotImplementedError

    def unsummed(self) -> "Program":
        """The same program with every result given for each lane."""
        return self

    def shapes(self, avals: Sequence[ShapedArray], lanes: Lanes) -> list[Any]:
        """Shapes and types of the results."""
        return list(self.traced(avals, lanes).out_avals)

    def traced(self, avals: Sequence[ShapedArray], lanes: Lanes) -> jax_core.ClosedJaxpr:
        """The program as a jaxpr, traced once for each signature."""
        signature = (lanes, tuple((aval.shape, aval.dtype) for aval in avals))
        if signature not in self._traced:
            structs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
            self._traced[signature] = jax.make_jaxpr(lambda *args: self.run(args, lanes))(*structs)
        return self._traced[signature]


_program_p = jax_core.Primitive("backthrough_ode")
_program_p.multiple_results = True


def bind(program: Program, arguments: Sequence[Any], lanes: Lanes = None) -> list[Any]:
    """Runs `program`; transformations see one operation."""
    return _program_p.bind(*arguments, program=program, lanes=lanes)


def lane_count(arguments: Sequence[Any], lanes: Lanes, axes: Sequence[int]) -> int:
    """How many lanes there are."""
    assert lanes is not None
    return next(x.shape[axis] for x, lane, axis in zip(arguments, lanes, axes, strict=True) if lane)


def no_tangent(x: Any) -> ad.Zero:
    """The tangent of a result that has none."""
    return ad.Zero(jax.typeof(x).to_tangent_aval())


def _abstract(*avals: ShapedArray, program: Program, lanes: Lanes) -> list[ShapedArray]:
    return [ShapedArray(aval.shape, aval.dtype) for aval in program.shapes(avals, lanes)]


def _run(*arguments: Any, program: Program, lanes: Lanes) -> list[Any]:
    closed = program.traced([jax.typeof(x) for x in arguments], lanes)
    return jax_core.jaxpr_as_fun(closed)(*arguments)


def _eager(*arguments: Any, program: Program, lanes: Lanes) -> list[Any]:
    return jax.jit(partial(_run, program=program, lanes=lanes))(*arguments)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, lanes: Lanes):
    return program.jvp(primals, tangents, lanes)


def _transpose(cotangents: Sequence[Any], *arguments: Any, program: Program, lanes: Lanes) -> list[Any]:
    return program.transpose(cotangents, arguments, lanes)


def _batch(arguments: Sequence[Any], dims: Sequence[Any], *, program: Program, lanes: Lanes):
    axes = program.argument_axes(len(arguments))
    mapped = [dim is not None for dim in dims]
    if lanes is None:
        arguments = [
            jnp.moveaxis(x, dim, axis) if lane else x
            for x, dim, axis, lane in zip(arguments, dims, axes, mapped, strict=True)
        ]
        results = bind(program, arguments, tuple(mapped))
        return results, _result_dims(program, results, len(arguments))
    outer = next(x.shape[dim] for x, dim, new in zip(arguments, dims, mapped, strict=True) if new)
    inner = _n_lanes_before(arguments, dims, lanes, axes)
    shared = [x for x, new, old in zip(arguments, mapped, lanes, strict=True) if new and not old]
    if any(math.prod(x.shape) * inner > MOST_COPIES for x in shared):
        return _one_after_another(arguments, dims, mapped, program, lanes)
    merged = [
        _merge(x, dim, axis, new, old, outer, inner)
        for x, dim, axis, new, old in zip(arguments, dims, axes, mapped, lanes, strict=True)
    ]
    flags = tuple(new or old for new, old in zip(mapped, lanes, strict=True))
    return _split(program, merged, flags, outer, inner)


def _n_lanes_before(arguments: Sequence[Any], dims: Sequence[Any], lanes: tuple[bool, ...], axes: Any) -> int:
    """How many lanes there were before the new axis."""
    for x, dim, lane, axis in zip(arguments, dims, lanes, axes, strict=True):
        if lane:
            shape = list(x.shape)
            if dim is not None:
                del shape[dim]
            return shape[axis]
    raise AssertionError("lanes without an argument that has them")


def _merge(x: Any, dim: Any, axis: int, new: bool, old: bool, outer: int, inner: int) -> Any:
    """`x` with the new and the old axis of lanes as one, the new one varying slower."""
    if not new and not old:
        return x
    x = jnp.moveaxis(x, dim, 0) if new else jnp.broadcast_to(x, (outer, *x.shape))
    if not old:
        at = 1 if axis == 0 else x.ndim
        x = jnp.expand_dims(x, at)
        x = jnp.broadcast_to(x, (*x.shape[:at], inner, *x.shape[at + 1 :]))
    if axis == 0:
        return x.reshape(outer * inner, *x.shape[2:])
    x = jnp.moveaxis(x, 0, -2)
    return x.reshape(*x.shape[:-2], outer * inner)


def _split(program: Program, merged: Sequence[Any], flags: tuple[bool, ...], outer: int, inner: int):
    """Runs `program` on the merged lanes and takes the new axis out of its results again."""
    n = len(merged)
    wanted = program.result_axes(n)
    every_lane = program.unsummed()
    results = bind(every_lane, merged, flags)
    split, dims = [], []
    for x, axis in zip(results, every_lane.result_axes(n), strict=True):
        if axis == 0:
            split.append(x.reshape(outer, inner, *x.shape[1:]))
            dims.append(0)
        else:
            split.append(x.reshape(*x.shape[:-1], outer, inner))
            dims.append(x.ndim - 1)
    for index, axis in enumerate(wanted):
        if axis is None:
            split[index] = split[index].sum(1)
    return split, dims


def _one_after_another(arguments: Sequence[Any], dims: Sequence[Any], mapped: Sequence[bool], program, lanes):
    moving = [jnp.moveaxis(x, dim, 0) for x, dim, new in zip(arguments, dims, mapped, strict=True) if new]

    def one(slices: list[Any]) -> list[Any]:
        rest = iter(slices)
        return bind(
            program, [next(rest) if new else x for x, new in zip(arguments, mapped, strict=True)], lanes
        )

    results = jax.lax.map(one, moving)
    return results, [0] * len(results)


def _result_dims(program: Program, results: Sequence[Any], n_arguments: int) -> list[Any]:
    return [
        None if axis is None else axis % x.ndim
        for x, axis in zip(results, program.result_axes(n_arguments), strict=True)
    ]


_program_p.def_impl(_eager)
_program_p.def_abstract_eval(_abstract)
ad.primitive_jvps[_program_p] = _jvp
ad.primitive_transposes[_program_p] = _transpose
batching.primitive_batchers[_program_p] = _batch
mlir.register_lowering(_program_p, mlir.lower_fun(_run, multiple_results=True))
