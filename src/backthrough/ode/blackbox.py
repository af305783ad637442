"""Gradients through any ODE solver, with nothing but calls to that same solver."""

import itertools
from collections.abc import Callable
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.integrate import solve_ivp

from backthrough.core import ArgumentError, check_choice, check_integer, check_positive
from backthrough.ode.flatten import Flat
from backthrough.ode.reverse_only import reverse_only

NOT_FINITE = "states that are not finite: the solution may blow up, or the solver have failed"
SCIPY = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")

BlackBoxSolver = Callable[[Callable[[Any, Any], Any], Any, Any], Any]
"""solver(fun, y0, ts) -> ys: y0 of shape (size,), ts (times,), ys (times, size)."""


class BlackBox(eqx.Module):
    """A solver that is only called: its gradient is the continuous adjoint, solved by the same solver.

    Chen et al. 2018, algorithm 1, one interval of `ts` after the other; time runs down, or forwards in -t.

    Attributes:
        call: The solver.
        name: What it is called in messages.
        traced: Whether it is written in JAX, rather than in NumPy on the host.
        forwards: Whether it needs times that increase.
        drift: How far from where it was, relative to the largest state, the state may come back when it is
            solved backwards.
    """

    call: BlackBoxSolver = eqx.field(static=True)
    name: str = eqx.field(static=True)
    traced: bool = eqx.field(static=True)
    forwards: bool = eqx.field(static=True)
    drift: float = eqx.field(static=True)


def blackbox(
    solver: Any,
    *,
    traced: bool = False,
    forwards: bool = False,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    max_steps: int = 100_000,
    drift: float = 0.01,
) -> BlackBox:
    """A solver for `odeint` from any callable, a SciPy method by name, or a diffrax solver.

    Args:
        solver: `solver(fun, y0, ts) -> ys`, with `fun(t, y) -> dy/dt` given to it; or "RK45", "RK23",
            "DOP853", "Radau", "BDF" or "LSODA"; or a diffrax solver such as `diffrax.Kvaerno5()`.
        traced: Whether the callable is written in JAX. It is then compiled with everything around it, and
            may use loops that JAX cannot differentiate. Otherwise it gets and returns NumPy arrays, on the
            host, one example of a batch after the other.
        forwards: Whether the callable cannot integrate from later to earlier times.
        rtol: Relative tolerance of a SciPy or diffrax solver.
        atol: Absolute tolerance of a SciPy or diffrax solver.
        max_steps: Of a diffrax solver.
        drift: The gradient solves the state backwards. If it does not come back to within this part of its
            largest value, the problem cannot be solved backwards, and the gradient is refused.

    Raises:
        ArgumentError: if the name is unknown, `solver` cannot be called, or a number cannot be used.
    """
    for name, value in (("rtol", rtol), ("atol", atol), ("drift", drift)):
        check_positive(name, value)
    check_integer("max_steps", max_steps, minimum=1)
    if isinstance(solver, str):
        method = check_choice("SciPy method", solver, SCIPY)
        return BlackBox(_scipy(method, rtol, atol), f"SciPy's {method}", False, False, drift)
    if isinstance(solver, type) and solver.__name__ in SCIPY:
        raise ArgumentError(
            f'SciPy\'s solvers are asked for by name: write ode.blackbox("{solver.__name__}")'
        )
    if isinstance(solver, type):
        raise ArgumentError(f"a black box is a solver, not a class of them: write {solver.__name__}()")
    if type(solver).__module__.partition(".")[0] == "diffrax":
        name = f"diffrax's {type(solver).__name__}"
        return BlackBox(_diffrax(solver, rtol, atol, max_steps), name, True, False, drift)
    if not callable(solver):
        raise ArgumentError(
            f"a black box is a function solver(fun, y0, ts) -> ys, the name of a SciPy method or a diffrax "
            f"solver, got {solver!r}"
        )
    return BlackBox(solver, getattr(solver, "__name__", repr(solver)), traced, forwards, drift)


def _scipy(method: str, rtol: float, atol: float) -> BlackBoxSolver:
    def call(fun: Callable, y0: np.ndarray, ts: np.ndarray) -> np.ndarray:
        result = solve_ivp(fun, (ts[0], ts[-1]), y0, method=method, t_eval=ts, rtol=rtol, atol=atol)
        if not result.success:
            raise RuntimeError(f"it stopped: {result.message}")
        return result.y.T

    return call


def _diffrax(solver: Any, rtol: float, atol: float, max_steps: int) -> BlackBoxSolver:
    import diffrax  # it is there: one of its solvers was given

    def call(fun: Callable, y0: Array, ts: Array) -> Array:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: fun(t, y)),
            solver,
            t0=ts[0],
            t1=ts[-1],
            dt0=None,
            y0=y0,
            saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
        )
        return jnp.asarray(solution.ys)

    return call


def solve_blackbox(solver: BlackBox, flat: Flat, ts: Array) -> Array:
    """The flat states at `ts`, shape (times, size), with gradients to state, leaves and times."""
    is_parameter = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in flat.leaves]
    parameters = [leaf for leaf, yes in zip(flat.leaves, is_parameter, strict=True) if yes]
    if not solver.traced and any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in flat.leaves):
        raise ArgumentError(
            f"the field holds a random key, which {solver.name} on the host cannot be given: draw the noise "
            "before the solve, and pass it in args"
        )
    others = [leaf for leaf, yes in zip(flat.leaves, is_parameter, strict=True) if not yes]

    def field(t: Array, y: Array, parameters: list[Any], others: list[Any]) -> Array:
        left, right = iter(parameters), iter(others)
        return flat.field(t, y, [next(left) if yes else next(right) for yes in is_parameter])

    def augmented(t: Array, state: Array, parameters: list[Any], others: list[Any]) -> Array:
        y, adjoint = state[: flat.y0.size], state[flat.y0.size : 2 * flat.y0.size]
        slope, pull = jax.vjp(lambda y, p: field(t, y, p, others), y, parameters)
        to_y, to_parameters = pull(-adjoint)
        parts = [slope, to_y, *(jnp.ravel(x) for x in to_parameters)]
        return jnp.concatenate(parts)

    on_host = jax.jit(field)
    augmented_on_host = jax.jit(augmented)

    @jax.custom_vjp
    def solve(y0: Array, ts: Array, parameters: list[Any], others: list[Any]) -> Array:
        return _call(solver, on_host, y0, ts, parameters, others)

    def forward(y0: Array, ts: Array, parameters: list[Any], others: list[Any]) -> tuple[Array, Any]:
        y0, ts, parameters = jax.tree_util.tree_map(_first_derivative_only, (y0, ts, parameters))
        ys = _call(solver, on_host, y0, ts, parameters, others)
        return ys, (ys, ts, parameters, others)

    def backward(kept: Any, ct: Array) -> tuple[Any, ...]:
        ys, ts, parameters, others = kept
        size = ys.shape[1]
        slopes = jax.vmap(lambda t, y: field(t, y, parameters, others))(ts, ys)
        ct_ts = jnp.sum(ct * slopes, axis=1)
        adjoint = ct[-1]
        sums = jnp.zeros(sum(p.size for p in parameters), ys.dtype)
        for index in reversed(range(ts.shape[0] - 1)):
            start = jnp.concatenate([ys[index + 1], adjoint, sums])
            times = jnp.stack([ts[index + 1], ts[index]])
            end = _call(solver, augmented_on_host, start, times, parameters, others)[-1]
            end = _came_back(solver, end, ys, index)
            adjoint, sums = end[size : 2 * size], end[2 * size :]
            if index == 0:
                ct_ts = ct_ts.at[0].set(-jnp.sum(adjoint * slopes[0]))
            adjoint = adjoint + ct[index]
        ends = np.cumsum([p.size for p in parameters], dtype=int)
        shaped = [sums[end - p.size : end].reshape(p.shape) for end, p in zip(ends, parameters, strict=True)]
        nothing = [np.zeros(x.shape, jax.dtypes.float0) for x in others]
        return adjoint, ct_ts, shaped, nothing

    solve.defvjp(forward, backward)
    return solve(reverse_only(flat.y0), reverse_only(ts), [reverse_only(x) for x in parameters], others)


@jax.custom_jvp
def _first_derivative_only(x: Array) -> Array:
    """`x`, which cannot be differentiated."""
    return x


@_first_derivative_only.defjvp
def _refuse(primals: Any, tangents: Any) -> NoReturn:
    raise ArgumentError(
        "a black box has first derivatives only; for second derivatives use a solver of backthrough.ode with "
        "adjoint=Unrolled()"
    )


def _came_back(solver: BlackBox, end: Array, ys: Array, index: int) -> Array:
    """`end`, unless the state in it is not where it was."""
    off = jnp.max(jnp.abs(end[: ys.shape[1]] - ys[index]))
    return eqx.error_if(
        end,
        ~(off <= solver.drift * jnp.max(jnp.abs(ys))),
        f"{solver.name}: solved backwards, the state does not come back to where it was (to within drift="
        f"{solver.drift:g} of the largest), so the gradient would be wrong. If the solver can only go "
        "forwards in time, give blackbox forwards=True; if the problem cannot be integrated backwards, use a "
        "solver of backthrough.ode with Discrete(), or shorter intervals in ts",
    )


def _call(
    solver: BlackBox, field: Callable, y0: Array, ts: Array, parameters: list[Any], others: list[Any]
) -> Array:
    """The states at `ts`, of a solver in JAX or of one on the host."""
    if not solver.traced:
        return _call_on_host(solver, field, y0, ts, parameters, others)
    direction = jnp.where(ts[-1] < ts[0], -1.0, 1.0).astype(ts.dtype) if solver.forwards else 1.0

    def fun(t: Array, y: Array) -> Array:
        return direction * field(direction * t, y, parameters, others)

    ys = solver.call(fun, y0, direction * ts)
    _check_result(solver, ys, (len(ts), *y0.shape))
    return eqx.error_if(
        jnp.asarray(ys, y0.dtype), ~jnp.all(jnp.isfinite(ys)), f"{solver.name} returned {NOT_FINITE}"
    )


def _check_result(solver: BlackBox, ys: Any, expected: tuple[int, ...]) -> None:
    if not isinstance(ys, (np.ndarray, jax.Array)):
        raise ArgumentError(f"{solver.name} must return an array of shape {expected}, got {ys!r}")
    if not (jnp.issubdtype(ys.dtype, jnp.floating) or jnp.issubdtype(ys.dtype, jnp.integer)):
        raise ArgumentError(f"{solver.name} must return real states, got {ys.dtype}")
    if ys.shape != expected:
        raise ArgumentError(f"{solver.name} must return states of shape {expected}, got {ys.shape}")


def _call_on_host(
    solver: BlackBox, field: Callable, y0: Array, ts: Array, parameters: list[Any], others: list[Any]
) -> Array:
    """One call for each example of a batch."""

    def on_host(*arguments: Any) -> np.ndarray:
        # JAX within a callback wants NumPy: it could wait for ever for an array of its own
        y0, ts, parameters, others = jax.tree_util.tree_map(np.asarray, arguments)
        calls = itertools.count()
        down = solver.forwards and ts[-1] < ts[0]

        def fun(t: Any, y: Any) -> np.ndarray:
            time = np.asarray(-t if down else t, y0.dtype)
            slope = np.asarray(field(time, np.asarray(y, y0.dtype), parameters, others))
            if next(calls) == 0 and not np.isfinite(slope).all():  # some solvers would try for ever
                raise ValueError(f"the field is not finite at the first time, t = {time:g}")
            return -slope if down else slope

        try:
            ys = np.asarray(solver.call(fun, y0, -ts if down else ts))
        except Exception as error:
            raise RuntimeError(f"{solver.name} failed: {error}") from error
        _check_result(solver, ys, (len(ts), *y0.shape))
        if not np.isfinite(ys).all():
            raise RuntimeError(f"{solver.name} returned {NOT_FINITE}")
        return ys.astype(y0.dtype)

    result = jax.ShapeDtypeStruct((ts.shape[0], *y0.shape), y0.dtype)
    return jax.pure_callback(on_host, result, y0, ts, parameters, others, vmap_method="sequential")
