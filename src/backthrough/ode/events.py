"""Solving until something happens, with gradients of when and where.

The time is found by a solve without derivatives; then the state there comes from an ordinary solve to that
time, and one Newton step for the root of the event function makes the time a function of everything (Chen,
Amos and Nickel 2021, arXiv 2011.03902, section 3): whatever the adjoint, its derivative is -dg / (dg/dt).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from backthrough.core import ArgumentError
from backthrough.ode.adjoints import Discrete, Unrolled
from backthrough.ode.checks import check_jumps, check_problem, check_traced
from backthrough.ode.differentiate import Solve, leading_axes, unpack_all
from backthrough.ode.flatten import Flat, check_takes, flatten
from backthrough.ode.jumps import Clock, passed, stop_at_jumps
from backthrough.ode.methods import method_of
from backthrough.ode.odeint import SolveOptions, is_being_traced
from backthrough.ode.onestep import polynomials
from backthrough.ode.programs import Lanes, Program, bind, no_tangent
from backthrough.ode.setting import Problem, Setting, forward_field, on_lanes
from backthrough.ode.solution import Stats, Status, raise_unless_done
from backthrough.ode.solvers import Adaptive, Dopri5
from backthrough.ode.stepping import DONE, MAX_STEPS, RUNNING, State, start, try_step
from backthrough.ode.unrolled import solve_unrolled
from backthrough.ode.work import method_and_tail

PLACES = 8  # in every step, where the event function is looked at
FIRED = -2  # a status of the search only


class Event(NamedTuple):
    """What has happened, and when.

    Attributes:
        t: The time of the event; the last time if there was none.
        y: The state there.
        fired: Whether there was one.
        stats: Costs, of the search and of the solve to the event together.
        status: A `Status`, as an integer.
    """

    t: Float[Array, "*batch"]
    y: PyTree[Array]
    fired: Bool[Array, "*batch"]
    stats: Stats
    status: Int[Array, "*batch"]


class Search(Program):
    """When the event happens, as a constant: time, status, steps accepted, steps rejected."""

    def __init__(self, problem: Problem, event: Callable[..., Array], direction: int):
        super().__init__()
        self.problem = problem
        self.event = event
        self.direction = direction

    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where each argument would have its lanes."""
        return leading_axes(n_arguments)

    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where each result has its lanes."""
        return (-1,) * 4

    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The results."""
        y0, setting = unpack_all(arguments, lanes)
        event = on_lanes(self.event, setting)

        def at(s: Array, y: Array) -> Array:
            return event(setting.real_time(s), y, list(setting.leaves))

        state, place = self._until_it_fires(setting, y0, at)
        s = jnp.where(state.status == FIRED, self._between(setting, place, at), state.s)
        return [setting.real_time(s), state.status, state.accepted, state.rejected]

    def _until_it_fires(self, setting: Setting, y0: Array, at: Callable) -> tuple[State, "_Place"]:
        problem = self.problem
        state = start(problem, setting, y0)
        first = at(state.s, y0)
        lost = (state.status == RUNNING) & ~jnp.isfinite(first)
        state = state._replace(status=jnp.where(lost, Status.EVENT_NOT_FINITE, state.status))
        if self.direction == 0:
            at_once = (state.status == RUNNING) & (first == 0)
            state = state._replace(status=jnp.where(at_once, Status.EVENT_AT_START, state.status))
        nothing = jnp.zeros_like(state.s)
        place = _Place(nothing, nothing, y0, nothing, nothing)
        thetas = jnp.arange(1, PLACES + 1, dtype=y0.dtype) / PLACES

        def one(carry: tuple) -> tuple:
            state, before, place, tried = carry
            new, h, made = try_step(problem, setting, state)
            curve = polynomials(
                forward_field(problem, setting), problem.tableau, state.s[None], state.y[None], h[None]
            )[:, 0]
            values = jax.vmap(lambda x: at(state.s + x * h, _evaluate(curve, state.y, x)))(thetas)
            crossed = self._crosses(jnp.concatenate([before[None], values[:-1]]), values) & made
            fires, index = jnp.any(crossed, axis=0), jnp.argmax(crossed, axis=0)
            low = index.astype(y0.dtype) / PLACES
            here = _Place(state.s, h, state.y, low, low + 1 / PLACES)
            place = _Place(*(jnp.where(fires, a, b) for a, b in zip(here, place, strict=True)))
            lost = made & ~jnp.all(jnp.isfinite(values), axis=0)
            status = jnp.where(lost, Status.EVENT_NOT_FINITE, new.status)
            status = jnp.where(fires, FIRED, status)
            return new._replace(status=status), jnp.where(made, values[-1], before), place, tried + 1

        carry = (state, first, place, jnp.asarray(0, jnp.int32))
        state, _, place, _ = jax.lax.while_loop(
            lambda c: jnp.any(c[0].status == RUNNING) & (c[3] < problem.max_steps), one, carry
        )
        status = jnp.where(state.status == RUNNING, MAX_STEPS, state.status)
        return state._replace(status=jnp.where(status == DONE, Status.NO_EVENT, status)), place

    def _crosses(self, before: Array, after: Array) -> Array:
        falls, rises = (before > 0) & (after <= 0), (before < 0) & (after >= 0)
        return falls if self.direction < 0 else rises if self.direction > 0 else falls | rises

    def _between(self, setting: Setting, place: "_Place", at: Callable) -> Array:
        """The time in a step at which the event function has its root, by bisection."""
        curve = polynomials(
            forward_field(self.problem, setting),
            self.problem.tableau,
            place.s[None],
            place.y[None],
            place.h[None],
        )[:, 0]

        def value(x: Array) -> Array:
            return at(place.s + x * place.h, _evaluate(curve, place.y, x))

        below = value(place.low)

        def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = (low + high) / 2
            passed = self._crosses(below, value(middle))
            return jnp.where(passed, low, middle), jnp.where(passed, middle, high)

        n = jnp.finfo(place.s.dtype).nmant
        low, high = jax.lax.fori_loop(0, n, halve, (place.low, place.high))
        return place.s + (low + high) / 2 * place.h

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Results and their tangents."""
        results = bind(self, primals, lanes)
        return results, [no_tangent(x) for x in results]


class _Place(NamedTuple):
    """The step in which an event happens, and the fractions of it between which it does."""

    s: Array
    h: Array
    y: Array
    low: Array
    high: Array


def _evaluate(curve: Array, y: Array, x: Array) -> Array:
    for power, coefficients in enumerate(curve):
        y = y + x ** (power + 1) * coefficients
    return y


def odeint_event(
    field: Callable[..., PyTree],
    y0: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    event: Any,
    direction: int = 0,
    solver: Any = None,
    adjoint: Any = None,
    max_steps: int = 4096,
    jump_ts: Any = None,
    dtmax: Any = None,
    throw: bool = True,
) -> Event:
    """Solves dy/dt = field(t, y, args) until event(t, y, args) crosses zero, with gradients.

    Gradients of when and where go to `y0`, `args`, `ts` and what field and event close over, by any adjoint.
    What happens then, a bounce for one, is a function of `y` for the caller to apply before solving on. The
    event function is looked at eight times in every step: two crossings closer together are missed.

    Args:
        field: The vector field.
        y0: The initial state.
        ts: Two times: the first, and the one to give up at.
        args: Anything that is passed on to field and event.
        event: A function of time, state and `args` to one real number.
        direction: 1 if only rising through zero counts, -1 if only falling, 0 if both do. With 1 or -1 the
            solve may begin on the event.
        solver: `Dopri5()` by default; one that chooses its steps.
        adjoint: Where gradients come from; `Discrete()` by default.
        max_steps: The most steps that may be tried.
        jump_ts: As for `odeint`.
        dtmax: As for `odeint`.
        throw: Whether it is an error if the event does not happen; otherwise see `fired` and `status`.

    Returns:
        Time and state of the event.

    Raises:
        ArgumentError: if an argument cannot be used, naming it.
        SolveError: if the event does not happen, or at once, or the solve fails. Under `jit`, an `equinox`
            runtime error with the same message.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from backthrough import ode
        >>> def drop(height):
        ...     fall = lambda t, y, args: jnp.array([y[1], -9.81])
        ...     return ode.odeint_event(
        ...         fall, jnp.array([height, 0.0]), [0.0, 9.0], event=lambda t, y, args: y[0], direction=-1
        ...     ).t
        >>> bool(abs(jax.grad(drop)(2.0) - 1 / (2 * 9.81 * 2.0) ** 0.5) < 1e-5)
        True
    """
    solver = Dopri5() if solver is None else solver
    if not isinstance(solver, Adaptive):
        raise ArgumentError("solver must be one that chooses its steps, like Dopri5(): events need it")
    if not callable(event):
        raise ArgumentError(f"event must be a function event(t, y, args) -> number, got {event!r}")
    if isinstance(direction, jax.Array) or direction not in (-1, 0, 1):
        raise ArgumentError(f"direction must be -1, 0 or 1, got {direction!r}")
    adjoint = Discrete() if adjoint is None else adjoint
    y0, times, limits, max_steps = check_problem(y0, ts, solver, adjoint, max_steps, dtmax)
    if times.shape[0] != 2:
        raise ArgumentError(f"ts must hold two times, the first and the one to give up at, got {len(times)}")
    jumps = check_jumps(jump_ts, times)
    options = SolveOptions(solver.tableau, adjoint, max_steps, 0, False, throw)
    problem = (field, y0, times, jumps, args, event, limits, direction, options)
    found = _solve(*problem) if is_being_traced(problem) else _solve_by_itself(*problem)
    if throw:
        found = found._replace(t=raise_unless_done(found.t, found.status, found.stats.t_reached))
    return found


def _solve(
    field: Callable[..., PyTree],
    y0: PyTree,
    times: Array,
    jumps: Array | None,
    args: PyTree,
    event: Callable[..., Any],
    limits: Array,
    direction: int,
    options: SolveOptions,
) -> Event:
    flat = flatten(field, y0, args)
    flat_event, leaves = _flatten_event(event, flat, y0, args)
    tableau, tail = method_and_tail(options.tableau, flat)
    times, wrong = check_traced(times, limits)
    flat, times, clock, gaps, wrong = stop_at_jumps(flat, times, jumps, wrong)
    adjoint = options.adjoint
    memory = getattr(adjoint, "memory", None)
    problem = Problem(flat.field, tableau, options.max_steps, memory=memory, throw=options.throw, tail=tail)
    n = len(flat.leaves)
    limits = jax.lax.stop_gradient(limits)

    def event_at(t: Array, y: Array, both: Sequence[Any]) -> Array:
        t = t if clock is None else Clock(*both[n - len(clock) : n]).user(t)
        return flat_event(t, y, both[n:])

    search = Search(
        problem._replace(field=lambda t, y, both: flat.field(t, y, both[:n])),
        event_at,
        direction,
    )
    constants = jax.lax.stop_gradient([flat.y0, times, limits, gaps, *flat.leaves, *leaves])
    searched, status, accepted, rejected = bind(search, constants)
    fired = status == FIRED
    t = jnp.where(fired, searched, times[1])
    unrolled = isinstance(adjoint, Unrolled)
    constant = (lambda x: x) if unrolled else jax.lax.stop_gradient

    def newton(t: Array) -> tuple[Array, Array, list[Array]]:
        arguments = [flat.y0, jnp.stack([times[0], t]), limits, gaps, *flat.leaves]
        if isinstance(adjoint, Unrolled):
            ys, *costs, _ = solve_unrolled(problem, arguments)
        else:
            ys, *costs, _ = bind(Solve(problem, method_of(adjoint)), arguments)
        y = ys[-1]
        slope = flat.field(t, y, flat.leaves)
        everything = [*flat.leaves, *leaves]
        value, rate = jax.jvp(lambda t, y: event_at(t, y, everything), (t, y), (jnp.ones_like(t), slope))
        step = jnp.where(fired, -value / constant(jnp.where(fired, rate, 1.0)), 0.0)
        return t + step, y + constant(slope) * step, costs

    if unrolled:  # a step makes first derivatives right, and one from there second derivatives too
        t, _, _ = newton(t)
    t, y, (more, less, solved) = newton(t)
    accepted, rejected = accepted + more, rejected + less
    status = jnp.where(fired, solved, status)
    status = jnp.where(wrong == Status.DONE, status, wrong)
    evaluations = (accepted + rejected) * tableau.n_stages
    if clock is not None:  # the search and the solve start anew behind each jump
        evaluations = evaluations + 4 * passed(gaps, times[0], jnp.where(fired, t, searched))
        t, searched = clock.user(t), clock.fixed().user(searched)
    reached = jax.lax.stop_gradient(jnp.where(fired, t, searched))
    stats = Stats(evaluations, jnp.full_like(accepted, -1), accepted, rejected, reached)
    return Event(t, flat.unflatten(y), fired, stats, status)


_solve_by_itself = eqx.filter_jit(_solve)


def _flatten_event(
    event: Callable[..., Any], flat: Flat, y0: PyTree, args: PyTree
) -> tuple[Callable[..., Array], list[Any]]:
    """The event function on flat states, and the arrays in it."""
    time = jnp.zeros((), flat.y0.dtype)
    check_takes("event", event)
    out = eqx.filter_eval_shape(event, time, y0, args)
    shape, dtype = getattr(out, "shape", ()), getattr(out, "dtype", type(out))
    if shape != () or not jnp.issubdtype(dtype, jnp.floating):
        got = f"shape {shape} of {dtype}" if hasattr(out, "shape") else repr(out)
        raise ArgumentError(
            f"event must return one real number, got {got}: its zero is the event, and its slope there makes "
            "the gradient"
        )
    closed = eqx.filter_closure_convert(lambda t, y, args: jnp.asarray(event(t, y, args)), time, y0, args)
    arrays, static = eqx.partition((closed, args), eqx.is_array)
    leaves, structure = jax.tree_util.tree_flatten(arrays)

    def flat_event(t: Array, y: Array, leaves: Sequence[Any]) -> Array:
        function, args = eqx.combine(jax.tree_util.tree_unflatten(structure, leaves), static)
        return jnp.asarray(function(t, flat.unflatten(y), args), flat.y0.dtype)

    return flat_event, leaves
