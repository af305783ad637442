"""Checks of the arguments of a solve, on host values where they can be seen."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from backthrough.core import ArgumentError, PyTree, check_integer, check_positive
from backthrough.ode.adjoints import Backsolve, Continuous, Discrete, Interpolated, Unrolled
from backthrough.ode.blackbox import SCIPY, BlackBox
from backthrough.ode.flatten import check_state
from backthrough.ode.jumps import make_clock
from backthrough.ode.rosenbrock import Rosenbrock
from backthrough.ode.solution import Status
from backthrough.ode.solvers import Adaptive, Dopri5, FixedStep

CURES = {2: "give y0 in float32", 4: "enable double precision with jax.config.update('jax_enable_x64', True)"}


def as_numbers(name: str, value: Any) -> Any:
    """`value` as an array; a list may hold numbers that are traced.

    Raises:
        ArgumentError: if it holds anything else, or is ragged.
    """
    if isinstance(value, jax.Array):
        return value
    try:
        traced = any(isinstance(x, Tracer) for x in jax.tree_util.tree_leaves(value))
        array = jnp.asarray(value) if traced else np.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None or not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)):
        raise ArgumentError(f"{name} must hold numbers, got {value!r}")
    return array


def check_times(ts: Any, dtype: Any) -> Array:
    """`ts` as an array of the state's precision, strictly monotone.

    Raises:
        ArgumentError: naming the first entry that is not allowed.
    """
    ts = as_numbers("ts", ts)
    if jnp.ndim(ts) != 1 or jnp.shape(ts)[0] < 2:
        raise ArgumentError(f"ts must hold at least two times along one axis, got shape {jnp.shape(ts)}")
    if not jnp.issubdtype(jnp.result_type(ts), jnp.floating):
        raise ArgumentError(f"ts must be floating-point times, got {jnp.result_type(ts)}")
    if not isinstance(ts, Tracer):
        values = np.asarray(ts, dtype)
        if not np.isfinite(values).all():
            at = int(np.argmin(np.isfinite(values)))
            raise ArgumentError(f"ts[{at}] is not finite: {values[at]}")
        steps = np.diff(values)
        wrong = steps <= 0 if values[-1] >= values[0] else steps >= 0
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ArgumentError(
                f"ts must run strictly forwards or strictly backwards, but ts[{at}] is {values[at]} and "
                f"ts[{at + 1}] is {values[at + 1]} in {values.dtype}"
            )
    return jnp.asarray(ts, dtype)


def check_tolerances(solver: Adaptive, dtype: Any) -> Array:
    """Relative and absolute tolerance as an array of two.

    Raises:
        ArgumentError: if one is not positive, or is finer than the precision.
    """
    finest = finest_rtol(dtype)
    for name in ("rtol", "atol"):
        value = getattr(solver, name)
        value = value if isinstance(value, Tracer) else as_numbers(name, value)
        if jnp.ndim(value):
            raise ArgumentError(
                f"{name} must be one number, got shape {jnp.shape(value)}; with a tolerance for each example "
                "use odeint_batch, or jax.vmap over the solver too"
            )
        if isinstance(value, Tracer):
            continue
        if np.iscomplexobj(value):
            raise ArgumentError(f"{name} must be a real number, got {value}")
        number = float(np.asarray(value).astype(dtype))
        if not (np.isfinite(number) and number > 0):
            raise ArgumentError(f"{name} must be finite and greater than zero, got {number}")
        if name == "rtol" and number < finest:
            raise ArgumentError(
                f"rtol must be at least {finest:.1e} in {jnp.dtype(dtype)}, got {number:.1e}; "
                + CURES.get(jnp.dtype(dtype).itemsize, "loosen it")
            )
    return jnp.stack([jnp.asarray(solver.rtol, dtype), jnp.asarray(solver.atol, dtype)])


def check_limits(solver: Adaptive | FixedStep, dtmax: Any, dtype: Any) -> Array:
    """Relative and absolute tolerance, and behind them the largest step if there is one.

    Raises:
        ArgumentError: if one of them is of no use.
    """
    if isinstance(solver, FixedStep):
        return jnp.ones(2, dtype)
    tolerances = check_tolerances(solver, dtype)
    if dtmax is None:
        return tolerances
    return jnp.append(tolerances, check_dtmax(dtmax, (), dtype))


def check_dtmax(dtmax: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """The largest step, one number or of `shape`, as an array of that shape.

    Raises:
        ArgumentError: if it is not positive.
    """
    dtmax = dtmax if isinstance(dtmax, Tracer) else as_numbers("dtmax", dtmax)
    if jnp.shape(dtmax) not in ((), shape):
        wanted = f"be one number or have shape {shape}" if shape else "be one number"
        raise ArgumentError(f"dtmax must {wanted}, got shape {jnp.shape(dtmax)}")
    if not isinstance(dtmax, Tracer):
        values = np.asarray(dtmax)
        if np.iscomplexobj(values) or not (values > 0).all():
            raise ArgumentError(f"dtmax must be greater than zero, got {values}")
    return jnp.broadcast_to(jnp.asarray(dtmax, dtype), shape)


def check_jumps(jump_ts: Any, times: Array) -> Array | None:
    """`jump_ts` as an array of the precision of `times`.

    Raises:
        ArgumentError: naming what cannot be used.
    """
    if jump_ts is None:
        return None
    jump_ts = as_numbers("jump_ts", jump_ts)
    dtype = jnp.result_type(jump_ts)
    if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        raise ArgumentError(f"jump_ts must be times, real numbers, got {dtype}")
    if jnp.ndim(jump_ts) != 1:
        raise ArgumentError(f"jump_ts must have one axis, of jumps, got shape {jnp.shape(jump_ts)}")
    if isinstance(jump_ts, Tracer) or isinstance(times, Tracer):
        return jnp.asarray(jump_ts, times.dtype)
    values = np.asarray(jump_ts, times.dtype)
    if np.isnan(values).any():
        raise ArgumentError(f"jump_ts[{int(np.argmax(np.isnan(values)))}] is nan")
    if values.size and not bool(make_clock(jnp.asarray(values), times)[2]):
        inside = np.sort(values[np.isfinite(values)])
        steps = np.diff(inside)
        at = int(np.argmin(np.where(steps > 0, steps, np.inf)))
        raise ArgumentError(
            f"jump_ts has {inside[at]} and {inside[at + 1]}, which {values.dtype} can hardly tell apart at "
            "such times: "
            + ("give y0 in float64" if values.dtype.itemsize < 8 else "shift the times towards zero")
        )
    return jnp.asarray(values)


def check_stop_at_ts(stop_at_ts: object) -> bool:
    """Raises `ArgumentError` unless it is True or False: what is compiled depends on it."""
    if not isinstance(stop_at_ts, bool):
        raise ArgumentError(f"stop_at_ts must be True or False, not traced, got {stop_at_ts!r}")
    return stop_at_ts


def check_no_stops(what: str, jump_ts: Any, dtmax: Any, stop_at_ts: Any) -> None:
    """Refuses what needs a solver that chooses its steps."""
    for name, given in (
        ("jump_ts", jump_ts is not None),
        ("dtmax", dtmax is not None),
        ("stop_at_ts", stop_at_ts),
    ):
        if given:
            raise ArgumentError(
                f"{name} must be left out with {what}: it needs one that chooses its steps, like Dopri5(); "
                "or solve from jump to jump"
            )


def finest_rtol(dtype: Any) -> float:
    """The finest relative tolerance that a precision has steps for."""
    return 4 * float(jnp.finfo(dtype).eps)


def check_traced(times: Array, limits: Array) -> tuple[Array, Array]:
    """Times and a status, for what could not be seen while tracing.

    Times that turn back, or limits that are of no use, make all times NaN and the status say why. A
    traced time may repeat its neighbour, as padding does; the state is then the same.
    """
    ts, (rtol, atol, *largest) = jax.lax.stop_gradient(times), limits
    one_way = jnp.all(jnp.diff(ts) * jnp.where(ts[-1] >= ts[0], 1, -1) >= 0) & jnp.all(jnp.isfinite(ts))
    usable = (rtol >= finest_rtol(ts.dtype)) & (atol > 0) & jnp.isfinite(rtol) & jnp.isfinite(atol)
    for dtmax in largest:
        usable &= dtmax > 0
    status = jnp.where(one_way, jnp.where(usable, Status.DONE, Status.TOLERANCES), Status.TIMES)
    return jnp.where(one_way & usable, times, jnp.nan), status


def check_kind(name: str, value: Any, kinds: tuple[type, ...], known: str) -> None:
    """Raises `ArgumentError` listing what is known unless `value` is of one of the kinds."""
    if not isinstance(value, kinds):
        hint = ": write it with its parentheses" if callable(value) else ""
        raise ArgumentError(f"unknown {name} {value!r}{hint} (known: {known})")


def check_solver(solver: Any) -> None:
    """Raises `ArgumentError` unless `solver` is one."""
    name = getattr(solver, "__name__", solver)
    if isinstance(name, str) and name in SCIPY:
        raise ArgumentError(f'a solver of SciPy goes through ode.blackbox: write ode.blackbox("{name}")')
    if inspect.isfunction(solver) and solver.__module__ != Dopri5.__module__:
        raise ArgumentError(f"a solver of your own goes through ode.blackbox: write ode.blackbox({name})")
    check_kind(
        "solver",
        solver,
        (Adaptive, FixedStep, BlackBox),
        "Dopri5(), Tsit5(), Bosh3(), Dopri8(), Rodas5P(), Euler(n), Midpoint(n), Heun(n), RK4(n), "
        "blackbox(...)",
    )
    if isinstance(solver, FixedStep):
        check_integer("n_steps", solver.n_steps, minimum=1)


def check_adjoint(adjoint: Any, solver: Adaptive | FixedStep) -> None:
    """Raises `ArgumentError` unless `adjoint` is one that works with the solver."""
    kinds = (Discrete, Continuous, Interpolated, Backsolve, Unrolled)
    check_kind("adjoint", adjoint, kinds, ", ".join(f"{kind.__name__}()" for kind in kinds))
    name = type(adjoint).__name__
    if isinstance(adjoint, (Continuous, Interpolated, Backsolve)) and isinstance(solver, FixedStep):
        raise ArgumentError(
            f"{name}() needs a solver that chooses its steps, Dopri5() for one, got {solver.tableau.name}; "
            "for steps of one size use adjoint=Discrete() or adjoint=Unrolled()"
        )
    if isinstance(adjoint, (Continuous, Interpolated, Backsolve)) and isinstance(solver.tableau, Rosenbrock):
        raise ArgumentError(
            f"{name}() needs an explicit solver, Dopri5() for one, got {solver.tableau.name}; for stiff "
            "problems use adjoint=Discrete()"
        )
    if isinstance(adjoint, Discrete) and adjoint.memory is not None:
        check_positive("memory", adjoint.memory)
    if isinstance(adjoint, Continuous) and adjoint.checkpoints is not None:
        check_integer("checkpoints", adjoint.checkpoints, minimum=2)
    if isinstance(adjoint, Backsolve):
        check_positive("drift", adjoint.drift)
    counter = getattr(adjoint, "counter", None)
    if counter is not None and not callable(counter):
        raise ArgumentError(f"counter must be callable as counter(n), got {counter!r}")


def check_problem(
    y0: PyTree, ts: Any, solver: Any, adjoint: Any, max_steps: Any, dtmax: Any = None
) -> tuple[PyTree, Array, Array, int]:
    """The arguments of a solve: y0, the times, tolerances with the largest step, and max_steps.

    Raises:
        ArgumentError: naming the one that cannot be used.
    """
    check_adjoint(adjoint, solver)
    max_steps = check_integer("max_steps", max_steps, minimum=1)
    y0 = check_state(y0)
    dtype = jnp.finfo(jax.tree_util.tree_leaves(y0)[0].dtype).dtype
    times = check_times(ts, dtype)
    return y0, times, check_limits(solver, dtmax, dtype), max_steps
