"""What a backward solve sees of the gradients of parameters, so that it can control their errors.

A parameter's gradient is an integral, of a^T df/dp. The integrals of leaves of a few numbers are carried in
full, as a part of what is solved for. Those of larger leaves are formed later, for many steps at once; in
their place stands one number, their integral along a random direction, whose error is as large as theirs on
the average.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from backthrough.ode.flatten import split, to_flat
from backthrough.ode.rungekutta import FieldOf, mean_square, squared_error
from backthrough.ode.setting import Problem, Setting, explicit
from backthrough.ode.work import has_forward_mode

FEW = 64  # numbers of a leaf that is carried in full; one as large as the state is, too
MOST = 4  # times so many numbers are carried in all
OF_FEW, OF_MANY = 2.0, 10.0  # tolerances that the error in a step may have; of the adjoint it is 2
SLIGHT = 1e-4  # see Watch.allowed


class Watch(NamedTuple):
    """Which integrals a backward solve carries.

    Attributes:
        few: The leaves that are carried in full.
        many: The wanted leaves that are only seen along a direction.
        sizes: How many numbers each integral has. If there are `many`, the last is the one along the
            direction, and one number more is carried: the integral of how large its integrand is on average.
        forward: Whether the field has a forward mode, which is the way to the direction's integrand.
    """

    few: tuple[int, ...]
    many: tuple[int, ...]
    sizes: tuple[int, ...]
    forward: bool

    @property
    def size(self) -> int:
        """How many numbers are carried."""
        return sum(self.sizes) + bool(self.many)

    @property
    def n_few(self) -> int:
        """How many of them are those of the few."""
        return sum(self.sizes) - bool(self.many)

    def each(self, sums: Array) -> list[Array]:
        """The parts of `sums`, those of leaves without entries left out."""
        ends = np.cumsum((0, *self.sizes))
        return [sums[i:j] for i, j in pairwise(ends) if j > i]

    def largest(self, before: Array, sums: Array) -> Array:
        """The largest root mean square that each part has had."""
        sizes = [jnp.sqrt(mean_square(part)) for part in self.each(sums)]
        if self.many:
            sizes[-1] = jnp.maximum(sizes[-1], sums[-1])
        return jnp.maximum(before, jnp.stack(sizes))

    def errors(self, errors: Sequence[Array], allowed: Array) -> Array:
        """The squared error of each part over what is allowed."""
        parts = zip(*(self.each(error) for error in errors), strict=True)
        return jnp.stack([squared_error(part, row) for part, row in zip(parts, allowed, strict=True)])

    def allowed(self, setting: Setting, largest: Array, unit: Array) -> Array:
        """The error allowed in each part in a step.

        It is relative to the part. But parameters that double may change the loss by `unit`, as a state that
        doubles does: a ten-thousandth of that need not be resolved, which may be the far tail of a pulse, nor
        what rounding makes of it.

        Args:
            setting: The data.
            largest: The largest size that each part has had.
            unit: What a state that doubles changes in the loss.
        """
        rtol, lanes = setting.rtol, setting.leaf_lanes
        limits = jnp.finfo(unit.dtype)
        slight = (SLIGHT * rtol + limits.eps) * unit
        rows = []
        for i in self.few:
            leaf = setting.leaves[i]
            own = lanes is not None and lanes[i]
            if leaf.size:
                size = jnp.sqrt(jnp.mean(jnp.square(jnp.abs(leaf)), axis=tuple(range(own, leaf.ndim))))
                row = OF_FEW * rtol * largest[len(rows)] + slight / jnp.maximum(size, 1).astype(unit.dtype)
                rows.append(row + limits.tiny)
        if self.many:
            rows.append(OF_MANY * rtol * largest[-1] + slight + limits.tiny)
        return jnp.stack(rows)


def watch(problem: Problem, setting: Setting, wanted: Sequence[int], y: Array) -> Watch:
    """What is carried for these leaves, with states like `y`."""
    few, many, sizes = [], [], []
    bound = max(FEW, y.shape[0])
    for i in wanted:
        shape = one_shape(setting, i)
        complex_twice = 2 if jnp.iscomplexobj(setting.leaves[i]) else 1
        size = complex_twice * int(np.prod(shape))
        if size <= bound and sum(sizes) + size <= MOST * bound:
            few.append(i)
            sizes.append(size)
        else:
            many.append(i)
    forward = True
    if many:
        structs = [jax.ShapeDtypeStruct(one_shape(setting, i), x.dtype) for i, x in enumerate(setting.leaves)]
        time, state = (jax.ShapeDtypeStruct(shape, y.dtype) for shape in ((), y.shape[:1]))
        forward = has_forward_mode(jax.make_jaxpr(problem.field)(time, state, structs).jaxpr)
    return Watch(tuple(few), tuple(many), (*sizes, *(1,) * bool(many)), forward)


def one_shape(setting: Setting, i: int) -> tuple[int, ...]:
    """The shape of a leaf for one example."""
    own = setting.leaf_lanes is not None and setting.leaf_lanes[i]
    return setting.leaves[i].shape[own:]


def rates(
    problem: Problem, setting: Setting, seen: Watch, s: Array, y: Array, a: Array
) -> tuple[Array, Array, Array]:
    """The field at y, a^T df/dy, and the integrands of the few."""

    def one(field: FieldOf, leaves: list[Array], y: Array, a: Array) -> tuple[Array, Array, Array]:
        slope, pull = jax.vjp(field, y, leaves)
        to_y, to_few = pull(a)
        return slope, to_y, to_flat(to_few).astype(a.dtype) if leaves else jnp.zeros((0,), a.dtype)

    return _for_each(one, problem, setting, seen.few, s, y, a)


def along_direction(
    problem: Problem,
    setting: Setting,
    seen: Watch,
    times: Sequence[Array],
    states: Sequence[Array],
    adjoints: Sequence[Array],
) -> list[Array]:
    """What is carried for the many, at the stages of a step; zero at those that have no weight."""

    def one(field: FieldOf, leaves: list[Array], y: Array, a: Array) -> Array:
        """a^T df/dp v, for a direction v of signs, and how large that is on average if v is a random one."""
        directions = [_signs(leaf, k) for k, leaf in enumerate(leaves)]
        if seen.forward:
            _, tangent = jax.jvp(partial(field, y), (leaves,), (directions,))
            return jnp.stack([jnp.sum(a * tangent), jnp.sqrt(jnp.sum(a * a) * mean_square(tangent))])
        _, pull = jax.vjp(partial(field, y), leaves)
        products = [jnp.sum(jnp.real(g * v)) for g, v in zip(pull(a)[0], directions, strict=True)]
        found = sum(products[1:], start=products[0]).astype(a.dtype)
        return jnp.stack([found, jnp.abs(found)])

    tableau = explicit(problem)
    rows = (tableau.b, tableau.error, tableau.second_error or ())
    used = [i for i in range(len(times)) if any(i < len(row) and row[i] for row in rows)]
    stages = [jnp.stack([part[i] for i in used]) for part in (times, states, adjoints)]
    found = jax.vmap(partial(_for_each, one, problem, setting, seen.many))(*stages)
    rows = dict(zip(used, found, strict=True))
    return [rows[i] if i in rows else jnp.zeros_like(found[0]) for i in range(len(times))]


def _for_each(
    function: Callable[..., Any],
    problem: Problem,
    setting: Setting,
    some: Sequence[int],
    s: Array,
    y: Array,
    a: Array,
) -> Any:
    """function(field, leaves, y, a) for each lane, where field(y, leaves) takes `some` of the leaves."""

    def one(t0: Array, sign: Array, leaves: list[Array], s: Array, y: Array, a: Array) -> Any:
        def field(y: Array, values: Sequence[Array]) -> Array:
            new = list(leaves)
            for i, value in zip(some, values, strict=True):
                new[i] = value
            return sign * problem.field(t0 + sign * s, y, new)

        return function(field, [leaves[i] for i in some], y, a)

    data = (setting.t0, setting.sign, list(setting.leaves), s, y, a)
    if setting.leaf_lanes is None:
        return one(*data)
    axes = [0 if own else None for own in setting.leaf_lanes]
    return jax.vmap(one, in_axes=(-1, -1, axes, -1, -1, -1), out_axes=-1)(*data)


def gradients(setting: Setting, seen: Watch, sums: Array) -> dict[int, Array]:
    """The gradients of the leaves that were carried in full; of shared ones the sum over the lanes."""
    lanes = setting.leaf_lanes
    found = {}
    shapes = [jax.ShapeDtypeStruct(one_shape(setting, i), setting.leaves[i].dtype) for i in seen.few]
    total = sum(seen.sizes[: len(seen.few)])
    for i, gradient in zip(seen.few, split(jnp.moveaxis(sums[:total], 0, -1), shapes), strict=True):
        if lanes is not None and not lanes[i]:
            gradient = jnp.sum(gradient, axis=0)
        found[i] = gradient.astype(setting.leaves[i].dtype)
    return found


def _signs(leaf: Array, k: int) -> Array:
    """An array of signs that look random, always the same ones (the finaliser of MurmurHash3)."""
    x = jnp.arange(leaf.size, dtype=jnp.uint32) + np.uint32((k + 1) * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    return jnp.where((x ^ (x >> 16)) & 1, 1, -1).astype(leaf.dtype).reshape(leaf.shape)
