"""Solving an initial value problem, with gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, PyTree

from backthrough.core import ArgumentError
from backthrough.ode.adjoints import Discrete, Unrolled
from backthrough.ode.blackbox import BlackBox, solve_blackbox
from backthrough.ode.checks import (
    check_jumps,
    check_no_stops,
    check_problem,
    check_solver,
    check_stop_at_ts,
    check_times,
    check_traced,
)
from backthrough.ode.differentiate import Solve
from backthrough.ode.flatten import check_state, flatten
from backthrough.ode.jumps import passed, stop_at_jumps
from backthrough.ode.methods import Adjoint, method_of
from backthrough.ode.programs import bind
from backthrough.ode.setting import Problem
from backthrough.ode.solution import Solution, Stats, Status, raise_unless_done
from backthrough.ode.solvers import Adaptive, Dopri5, FixedStep
from backthrough.ode.unrolled import solve_unrolled
from backthrough.ode.work import method_and_tail


def odeint(
    field: Callable[..., PyTree],
    y0: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    solver: Any = None,
    adjoint: Any = None,
    max_steps: int = 4096,
    jump_ts: Any = None,
    dtmax: Any = None,
    stop_at_ts: bool = False,
    throw: bool = True,
) -> Solution:
    """Solves dy/dt = field(t, y, args) from `y0` at `ts[0]`, with gradients.

    Gradients go to `y0`, `args`, `ts`, `jump_ts` and whatever the field closes over. Under `jax.vmap` every
    example chooses its own steps, and those that have finished make nobody wait.

    Args:
        field: The vector field; its time is a scalar, its state and its result are like `y0`.
        y0: A pytree of floating-point arrays, of one precision.
        ts: Times to report the state at, strictly increasing or strictly decreasing, at least two.
        args: Anything that is passed on to the field.
        solver: `Dopri5()` by default.
        adjoint: Where gradients come from; `Discrete()` by default.
        max_steps: The most steps that an adaptive solver may try.
        jump_ts: Times at which the field jumps or has a kink, in any order, shape (jumps,). The solver stops
            there and starts anew; those outside of the solve, such as infinite ones, have no effect. The
            gradient is that of a loss when the field jumps at another time.
        dtmax: The largest step, in the units of time.
        stop_at_ts: Whether steps end at `ts`, in place of interpolation.
        throw: Whether a solve that fails raises; otherwise its states are NaN from there on, and
            `status` and `stats.t_reached` say why.

    Returns:
        The states at `ts`, with statistics and status.

    Raises:
        ArgumentError: if an argument cannot be used, naming it.
        SolveError: if the last time was not reached. Under `jit`, an `equinox` runtime error with the
            same message.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from backthrough import ode
        >>> solution = ode.odeint(lambda t, y, rate: -rate * y, 1.0, jnp.array([0.0, 1.0]), 0.5)
        >>> bool(abs(solution.ys[-1] - jnp.exp(-0.5)) < 1e-5)
        True
    """
    solver = Dopri5() if solver is None else solver
    check_solver(solver)
    check_stop_at_ts(stop_at_ts)
    if isinstance(solver, BlackBox):
        if adjoint is not None:
            raise ArgumentError("adjoint must be left out: a black box has the continuous adjoint only")
        if not throw:
            raise ArgumentError("throw must be True: a black box that fails raises")
        check_no_stops("a black box", jump_ts, dtmax, stop_at_ts)
        y0 = check_state(y0)
        dtype = jnp.finfo(jax.tree_util.tree_leaves(y0)[0].dtype).dtype
        return _solve_blackbox(field, y0, check_times(ts, dtype), args, solver)
    adjoint = Discrete() if adjoint is None else adjoint
    y0, times, limits, max_steps = check_problem(y0, ts, solver, adjoint, max_steps, dtmax)
    if isinstance(solver, FixedStep):
        check_no_stops("a solver with steps of one size", jump_ts, dtmax, stop_at_ts)
    jumps = check_jumps(jump_ts, times)
    options = SolveOptions(solver.tableau, adjoint, max_steps, n_steps_of(solver), stop_at_ts, throw)
    solution = solve_compiled(field, y0, times, jumps, args, limits, options)
    if throw:
        ys = raise_unless_done(solution.ys, solution.status, solution.stats.t_reached)
        solution = solution._replace(ys=ys)
    return solution


def n_steps_of(solver: Adaptive | FixedStep) -> int:
    """The steps between neighbouring times; 0 if the solver chooses."""
    return solver.n_steps if isinstance(solver, FixedStep) else 0


@eqx.filter_jit
def _solve_blackbox(
    field: Callable[..., PyTree], y0: PyTree, times: Array, args: PyTree, solver: BlackBox
) -> Solution:
    """The solution by a black box, which keeps its statistics to itself: they are -1."""
    flat = flatten(field, y0, args)
    ys = flat.unflatten(solve_blackbox(solver, flat, times))
    unknown = jnp.asarray(-1)
    return Solution(times, ys, Stats(unknown, unknown, unknown, unknown, times[-1]), jnp.asarray(0))


class SolveOptions(NamedTuple):
    """How to solve; see `Problem`."""

    tableau: Any
    adjoint: Adjoint
    max_steps: int
    n_steps: int
    stop_at_ts: bool
    throw: bool


def solve_compiled(*arguments: Any) -> Solution:
    """The solution of a checked problem, see `_solve`; compiled once for a field and shapes outside of `jit`.

    Where a program is being traced it becomes part of that. What a gradient needs is kept in arrays that have
    more rows for more lanes, and a program within a program would fix their shapes before an outer vmap adds
    lanes.
    """
    return _solve(*arguments) if is_being_traced(arguments) else _solve_by_itself(*arguments)


def is_being_traced(tree: PyTree) -> bool:
    """Whether arrays of a tree belong to a program that is being traced, as under `jit`, below all vmaps."""
    leaves = jax.tree_util.tree_leaves(tree)
    return any(isinstance(leaf, Tracer) for leaf in leaves) and isinstance(jnp.zeros(()), Tracer)


def _solve(
    field: Callable[..., PyTree],
    y0: PyTree,
    times: Array,
    jumps: Array | None,
    args: PyTree,
    limits: Array,
    options: SolveOptions,
) -> Solution:
    """The solution of a checked problem; whether the solve has failed is for the caller to see."""
    flat = flatten(field, y0, args)
    tableau, tail = method_and_tail(options.tableau, flat)
    usable, wrong = check_traced(times, limits)
    flat, usable, clock, gaps, wrong = stop_at_jumps(flat, usable, jumps, wrong)
    adjoint = options.adjoint
    memory = adjoint.memory if isinstance(adjoint, Discrete) else None
    problem = Problem(
        flat.field,
        tableau,
        options.max_steps,
        options.n_steps,
        memory,
        throw=options.throw,
        stop_at_ts=options.stop_at_ts,
        tail=tail,
    )
    arguments = [flat.y0, usable, jax.lax.stop_gradient(limits), gaps, *flat.leaves]
    if isinstance(adjoint, Unrolled):
        results = solve_unrolled(problem, arguments)
    else:
        results = bind(Solve(problem, method_of(adjoint)), arguments)
    ys, accepted, rejected, status, reached = results
    status = jnp.where(wrong == Status.DONE, status, wrong)
    ys = flat.unflatten(jnp.concatenate([flat.y0[None], ys]))
    stages = tableau.n_stages
    evaluations = (accepted + rejected) * stages + (2 if tableau.adaptive else 0)
    if clock is not None:
        evaluations = evaluations + 2 * passed(gaps, usable[0], reached)  # where it starts anew
        reached = clock.fixed().user(reached)
    known = isinstance(adjoint, Discrete)  # a continuous adjoint finds its steps in the backward pass
    backward = accepted * stages if known else jnp.full_like(accepted, -1)
    stats = Stats(evaluations, backward, accepted, rejected, reached)
    return Solution(times, ys, stats, status)


_solve_by_itself = eqx.filter_jit(_solve)
