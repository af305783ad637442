"""Gradients through any ODE solver, with nothing but calls to that same solver."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.integrate import solve_ivp

from backthrough.core import ArgumentError, check_choice
from backthrough.ode.flatten import Flat

SCIPY = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")

HostSolver = Callable[[Callable[[float, np.ndarray], np.ndarray], np.ndarray, np.ndarray], Any]
"""solver(fun, y0, ts) -> ys: y0 of shape (size,), ts (times,), ys (times, size), all NumPy."""


class BlackBox(eqx.Module):
    """A solver that is only called: its gradient is the continuous adjoint, solved by the same solver.

    Chen et al. 2018, algorithm 1, one interval of `ts` after the other; time runs down, or forwards in -t.

    Attributes:
        call: The solver.
        name: What it is called in messages.
        forwards: Whether it needs times that increase.
    """

    call: HostSolver = eqx.field(static=True)
    name: str = eqx.field(static=True)
    forwards: bool = eqx.field(static=True, default=False)


def blackbox(
    solver: HostSolver | str, *, forwards: bool = False, rtol: float = 1e-6, atol: float = 1e-9
) -> BlackBox:
    """A solver for `odeint` from any callable, or from one of SciPy's methods by name.

    Args:
        solver: `solver(fun, y0, ts) -> ys` on NumPy arrays, with `fun(t, y) -> dy/dt` given to it; or
            "RK45", "RK23", "DOP853", "Radau", "BDF" or "LSODA".
        forwards: Whether the callable cannot integrate from later to earlier times.
        rtol: Relative tolerance of a SciPy method.
        atol: Absolute tolerance of a SciPy method.

    Raises:
        ArgumentError: if the name is unknown.
    """
    if not isinstance(solver, str):
        return BlackBox(solver, getattr(solver, "__name__", repr(solver)), forwards)
    method = check_choice("SciPy method", solver, SCIPY)

    def call(fun: Callable, y0: np.ndarray, ts: np.ndarray) -> np.ndarray:
        result = solve_ivp(fun, (ts[0], ts[-1]), y0, method=method, t_eval=ts, rtol=rtol, atol=atol)
        if not result.success:
            raise RuntimeError(f"SciPy's {method} stopped: {result.message}")
        return result.y.T

    return BlackBox(call, f"SciPy's {method}", forwards)


def solve_blackbox(solver: BlackBox, flat: Flat, ts: Array) -> Array:
    """The flat states at `ts`, shape (times, size), with gradients to state, leaves and times."""
    is_parameter = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in flat.leaves]
    parameters = [leaf for leaf, yes in zip(flat.leaves, is_parameter, strict=True) if yes]
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
        ys = solve(y0, ts, parameters, others)
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
            adjoint, sums = end[size : 2 * size], end[2 * size :]
            if index == 0:
                ct_ts = ct_ts.at[0].set(-jnp.sum(adjoint * slopes[0]))
            adjoint = adjoint + ct[index]
        at = np.cumsum([p.size for p in parameters])[:-1]
        shaped = [x.reshape(p.shape) for x, p in zip(jnp.split(sums, at), parameters, strict=True)]
        nothing = [np.zeros(x.shape, jax.dtypes.float0) for x in others]
        return adjoint, ct_ts, shaped, nothing

    solve.defvjp(forward, backward)
    return solve(flat.y0, ts, parameters, others)


def _call(
    solver: BlackBox, field: Callable, y0: Array, ts: Array, parameters: list[Any], others: list[Any]
) -> Array:
    """Calls the solver on the host, once for each example of a batch."""

    def on_host(y0: Any, ts: Any, parameters: Any, others: Any) -> np.ndarray:
        y0, ts, *parameters = map(np.asarray, (y0, ts, *parameters))  # JAX within a callback wants NumPy
        down = solver.forwards and ts[-1] < ts[0]

        def fun(t: float, y: np.ndarray) -> np.ndarray:
            time = np.asarray(-t if down else t, y0.dtype)
            slope = np.asarray(field(time, np.asarray(y, y0.dtype), parameters, others))
            return -slope if down else slope

        try:
            ys = np.asarray(solver.call(fun, y0, -ts if down else ts))
        except Exception as error:
            raise RuntimeError(f"{solver.name} failed: {error}") from error
        expected = (len(ts), *y0.shape)
        if ys.shape != expected:
            raise ArgumentError(f"{solver.name} must return states of shape {expected}, got {ys.shape}")
        return ys.astype(y0.dtype)

    parameters, others = list(parameters), list(others)
    result = jax.ShapeDtypeStruct((ts.shape[0], *y0.shape), y0.dtype)
    return jax.pure_callback(on_host, result, y0, ts, parameters, others, vmap_method="sequential")
