"""Solving many initial value problems at once, with times and tolerances of their own."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from backthrough.core import ArgumentError, check_integer
from backthrough.ode.adjoints import Discrete
from backthrough.ode.blackbox import BlackBox
from backthrough.ode.checks import (
    as_numbers,
    check_adjoint,
    check_dtmax,
    check_jumps,
    check_no_stops,
    check_solver,
    check_stop_at_ts,
    check_times,
    check_tolerances,
)
from backthrough.ode.flatten import check_state
from backthrough.ode.odeint import SolveOptions, n_steps_of, solve_compiled
from backthrough.ode.solution import Solution, SolveError, Status, raise_unless_done
from backthrough.ode.solvers import Adaptive, Dopri5, FixedStep


def odeint_batch(
    field: Callable[..., PyTree],
    y0: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    args_axes: Any = None,
    mask: Any = None,
    solver: Any = None,
    adjoint: Any = None,
    max_steps: int = 4096,
    jump_ts: Any = None,
    dtmax: Any = None,
    stop_at_ts: bool = False,
    throw: bool = True,
) -> Solution:
    """Solves dy/dt = field(t, y, args) for every example of a batch, each in steps of its own.

    What `jax.vmap` of `odeint` does, with the batch in sight: examples may have different times, of different
    number, and different tolerances, and an error says which of them it is about.

    Args:
        field: The vector field of ONE example.
        y0: A pytree of floating-point arrays with a leading axis of examples.
        ts: Times for all, shape (times,), or for each, shape (batch, times).
        args: Anything that is passed on to the field.
        args_axes: Which axis of `args` is that of the examples, as `in_axes` of `jax.vmap`; None if they
            share it.
        mask: Which times of each example are real, shape (batch, times): at least two, then none. States at
            others are zero.
        solver: `Dopri5()` by default; its tolerances may have shape (batch,).
        adjoint: Where gradients come from; `Discrete()` by default.
        max_steps: The most steps for one example.
        jump_ts: As for `odeint`, for all, shape (jumps,), or for each, shape (batch, jumps), filled up with
            infinity.
        dtmax: As for `odeint`; may have shape (batch,).
        stop_at_ts: As for `odeint`.
        throw: Whether it is an error if the solve of an example fails.

    Returns:
        The solutions, everything with a leading axis of examples.

    Raises:
        ArgumentError: if an argument cannot be used, naming it.
        SolveError: if an example did not reach its last time, naming it. Under `jit`, an `equinox` runtime
            error.

    Example:
        >>> import jax.numpy as jnp
        >>> from backthrough import ode
        >>> ts = jnp.array([[0.0, 1.0, 2.0], [0.0, 3.0, 0.0]])
        >>> mask = jnp.array([[True, True, True], [True, True, False]])
        >>> ys = ode.odeint_batch(lambda t, y, args: -y, jnp.ones(2), ts, mask=mask).ys
        >>> bool(jnp.abs(ys - jnp.exp(-ts) * mask).max() < 1e-5)
        True
    """
    solver = Dopri5() if solver is None else solver
    check_solver(solver)
    check_stop_at_ts(stop_at_ts)
    if isinstance(solver, BlackBox):
        raise ArgumentError("solver must not be a black box: use jax.vmap of odeint, one call an example")
    adjoint = Discrete() if adjoint is None else adjoint
    check_adjoint(adjoint, solver)
    max_steps = check_integer("max_steps", max_steps, minimum=1)
    y0 = check_state(y0)
    n = _batch_size(y0)
    dtype = jnp.finfo(jax.tree_util.tree_leaves(y0)[0].dtype).dtype
    times, mask = _check_grids(ts, mask, n, dtype)
    limits = _check_limits(solver, dtmax, n, dtype)
    if isinstance(solver, FixedStep):
        check_no_stops("a solver with steps of one size", jump_ts, dtmax, stop_at_ts)
    jumps = _check_jumps(jump_ts, times)
    _check_axes(args, args_axes, n)
    options = SolveOptions(solver.tableau, adjoint, max_steps, n_steps_of(solver), stop_at_ts, throw)

    def one(y0: PyTree, times: Array, jumps: Array | None, limits: Array, args: PyTree) -> Solution:
        return solve_compiled(field, y0, times, jumps, args, limits, options)

    solution = eqx.filter_vmap(one, in_axes=(0, 0, 0, 0, args_axes))(y0, times, jumps, limits, args)
    if mask is not None:
        ys = jax.tree_util.tree_map(
            lambda x: jnp.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - 2)), x, 0), solution.ys
        )
        solution = solution._replace(ys=ys)
    return _checked(solution) if throw else solution


def _batch_size(y0: PyTree) -> int:
    sizes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(y0):
        name = f"y0{jax.tree_util.keystr(path)}"
        if leaf.ndim == 0 or leaf.shape[0] == 0:
            raise ArgumentError(f"{name} must have a leading axis of examples, got shape {leaf.shape}")
        sizes[name] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        raise ArgumentError(f"the leaves of y0 must have the same number of examples, got {sizes}")
    return next(iter(sizes.values()))


def _check_axes(args: PyTree, args_axes: Any, n: int) -> None:
    mapped = eqx.filter_vmap(lambda one, args: one, in_axes=(0, args_axes))
    try:
        eqx.filter_eval_shape(mapped, np.zeros(n), args)
    except ValueError as error:
        raise ArgumentError(
            f"args_axes must say which axis of args is that of the {n} examples, got {args_axes!r}: {error}"
        ) from None


def _check_grids(ts: Any, mask: Any, n: int, dtype: Any) -> tuple[Array, Array | None]:
    """The times of every example, filled up with its last one, and the mask."""
    if isinstance(ts, (list, tuple)) and all(np.ndim(row) == 1 for row in ts):
        lengths = sorted({len(row) for row in ts})
    else:
        lengths = []
    if len(lengths) > 1:
        raise ArgumentError(
            f"ts has rows of {lengths} times: fill them up to one length, and say with mask which are real"
        )
    ts = as_numbers("ts", ts)
    if jnp.ndim(ts) == 1:
        if mask is not None:
            raise ArgumentError("mask needs times for each example, ts of shape (batch, times)")
        return jnp.broadcast_to(check_times(ts, dtype), (n, len(ts))), None
    if jnp.ndim(ts) != 2 or jnp.shape(ts)[0] != n:
        raise ArgumentError(f"ts must have shape (times,) or ({n}, times), got {jnp.shape(ts)}")
    if mask is not None:
        mask = as_numbers("mask", mask)
        if jnp.shape(mask) != jnp.shape(ts) or mask.dtype != bool:
            raise ArgumentError(
                f"mask must be true or false for every time, of shape {jnp.shape(ts)}, got {mask.dtype} of "
                f"shape {jnp.shape(mask)}"
            )
        if not isinstance(mask, Tracer):
            real = np.asarray(mask)
            wrong = (real[:, :-1] < real[:, 1:]).any(axis=1) | (real.sum(axis=1) < 2)
            if wrong.any():
                at = int(np.argmax(wrong))
                raise ArgumentError(
                    f"mask[{at}] must be true for the first times, at least two, then false, got {real[at]}"
                )
    if not (isinstance(ts, Tracer) or isinstance(mask, Tracer)):
        values = np.asarray(ts)
        for row in range(n):
            chosen = values[row] if mask is None else values[row][np.asarray(mask)[row]]
            try:
                check_times(chosen, dtype)
            except ArgumentError as error:
                raise ArgumentError(f"example {row}: {error}") from None
    times = jnp.asarray(ts, dtype)
    if mask is None:
        return times, None
    mask = jnp.asarray(mask)
    usable = jnp.all(mask[:, 1:] <= mask[:, :-1], axis=1) & mask[:, 1]  # seen here while tracing
    times = jnp.where(usable[:, None], times, jnp.nan)
    last = jnp.take_along_axis(times, jnp.sum(mask, axis=1, keepdims=True) - 1, axis=1)
    return jnp.where(mask, times, last), mask


def _check_jumps(jump_ts: Any, times: Array) -> Array | None:
    """The jumps of every example."""
    if jump_ts is None:
        return None
    jump_ts = as_numbers("jump_ts", jump_ts)
    n = times.shape[0]
    if jnp.shape(jump_ts)[:-1] not in ((), (n,)) or not jnp.ndim(jump_ts):
        raise ArgumentError(f"jump_ts must have shape (jumps,) or ({n}, jumps), got {jnp.shape(jump_ts)}")
    jump_ts = jnp.broadcast_to(jnp.asarray(jump_ts, times.dtype), (n, jnp.shape(jump_ts)[-1]))
    if not (isinstance(jump_ts, Tracer) or isinstance(times, Tracer)):
        for row in range(n):
            try:
                check_jumps(jump_ts[row], times[row])
            except ArgumentError as error:
                raise ArgumentError(f"example {row}: {error}") from None
    return jump_ts


def _check_limits(solver: Any, dtmax: Any, n: int, dtype: Any) -> Array:
    """Tolerances and largest step of every example."""
    if not isinstance(solver, Adaptive):
        return jnp.ones((n, 2), dtype)
    finest = {}
    for name in ("rtol", "atol"):
        value = getattr(solver, name)
        value = value if isinstance(value, Tracer) else as_numbers(name, value)
        if jnp.shape(value) not in ((), (n,)):
            raise ArgumentError(f"{name} must be one number or have shape ({n},), got {jnp.shape(value)}")
        if not isinstance(value, Tracer):
            finest[name] = float(np.min(np.asarray(value)))
    check_tolerances(Adaptive(solver.tableau, finest.get("rtol", 1.0), finest.get("atol", 1.0)), dtype)
    both = [jnp.broadcast_to(jnp.asarray(x, dtype), (n,)) for x in (solver.rtol, solver.atol)]
    if dtmax is not None:
        both.append(check_dtmax(dtmax, (n,), dtype))
    return jnp.stack(both, axis=1)


def _checked(solution: Solution) -> Solution:
    if isinstance(solution.status, Tracer):
        reached = jnp.min(solution.stats.t_reached)
        return solution._replace(ys=raise_unless_done(solution.ys, jnp.max(solution.status), reached))
    status = np.asarray(solution.status)
    failed = np.flatnonzero(status != Status.DONE)
    if failed.size:
        first = int(failed[0])
        why, t = Status(int(status[first])), float(solution.stats.t_reached[first])
        named = ", ".join(map(str, failed[:8])) + (", ..." if failed.size > 8 else "")
        raise SolveError(
            f"{failed.size} of {status.size} solves failed (examples {named}); example {first} stopped at "
            f"t = {t:.6g}: {why.meaning}",
            status=why,
            t=t,
        )
    return solution
