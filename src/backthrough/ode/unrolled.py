"""Ordinary differentiation through the steps, once it is known which steps there are."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.differentiate import leading_axes, unpack_all
from backthrough.ode.forward import integrate, integrate_fixed
from backthrough.ode.onestep import step
from backthrough.ode.points import Points, evaluate
from backthrough.ode.programs import Lanes, Program, bind, no_tangent
from backthrough.ode.setting import Problem, Setting, forward_field, unpack
from backthrough.ode.stepping import DONE, State


class Grid(Program):
    """The steps of an adaptive solve, as constants."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.problem = problem._replace(compact=False)

    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where each argument would have its lanes."""
        return leading_axes(n_arguments)

    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where each result has its lanes."""
        return (-1,) * 8

    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The results."""
        y0, setting = unpack_all(arguments, lanes)
        state, points, levels = integrate(self.problem, setting, y0, keep=True)
        rows = levels.stores[0]
        made = jnp.arange(rows.s.shape[0]).reshape(-1, *(1,) * state.s.ndim) < levels.ends[0]
        begins = sizes = jnp.zeros((0, *state.s.shape), y0.dtype)
        if points is not None:
            begins, sizes = points.s, points.h
        s, h = jnp.where(made, rows.s, jnp.inf), jnp.where(made, rows.h, 0)
        s, h = s[: self.problem.max_steps], h[: self.problem.max_steps]
        return [s, h, begins, sizes, state.s, state.accepted, state.rejected, state.status]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Results and their tangents."""
        results = bind(self, primals, lanes)
        return results, [no_tangent(x) for x in results]


def solve_unrolled(problem: Problem, arguments: Sequence[Any]) -> list[Array]:
    """The results of `Solve`, differentiable any number of times in either mode."""
    y0, setting = unpack(arguments, None)
    if not problem.tableau.adaptive:
        state, points, _ = integrate_fixed(problem, setting, y0, keep=False)
        return _results(setting, state, points)
    constants = [jax.lax.stop_gradient(x) for x in arguments]
    s, h, begins, sizes, reached, accepted, rejected, status = bind(Grid(problem), constants)
    last, ys = _walk(problem, setting, y0, *_move_with_times(setting, jnp.where(jnp.isfinite(s), s, 0), h))
    none = jnp.zeros_like(reached)
    state = State(reached, last, last, none, none, status, accepted, rejected)
    points = None
    if begins.shape[0]:
        late = (
            setting.times[:-1] >= setting.span
        )  # a padded time is in the last step, and has its own gradient
        row = jnp.maximum(accepted - 1, 0)
        begins = jnp.where(late & (status == DONE), s[row], begins)
        sizes = jnp.where(late & (status == DONE), h[row], sizes)
        base = ys[jnp.searchsorted(s, begins)]
        points = Points(base, *_move_with_times(setting, begins, sizes), base)
        otherwise = jnp.where(late[:, None], last, jnp.nan)
        y_save = evaluate(problem, setting, setting.times[:-1], points)
        points = points._replace(y_save=jnp.where((sizes > 0)[:, None], y_save, otherwise))
    return _results(setting, state, points)


def _move_with_times(setting: Setting, s: Array, h: Array) -> tuple[Array, Array]:
    """Steps as they move with the times: each piece between two gaps is stretched."""
    begins = jnp.append(setting.high, jnp.zeros_like(setting.span))
    ends = jnp.append(setting.low, setting.span)
    fixed_begins, fixed_ends = jax.lax.stop_gradient((begins, ends))
    begin = jnp.argmax(jnp.where(fixed_begins <= s[:, None], fixed_begins, -jnp.inf), axis=1)
    end = jnp.argmin(jnp.where(fixed_ends > s[:, None], fixed_ends, jnp.inf), axis=1)
    stretch = (ends[end] - begins[begin]) / (fixed_ends[end] - fixed_begins[begin])
    return begins[begin] + (s - fixed_begins[begin]) * stretch, h * stretch


def _results(setting: Setting, state: State, points: Points | None) -> list[Array]:
    """The results of `Solve`, with the points as they are."""
    ys = jnp.where(state.status == DONE, state.y, jnp.nan)[None]
    if points is not None:
        ys = jnp.concatenate([points.y_save, ys])
    return [ys, state.accepted, state.rejected, state.status, setting.real_time(state.s)]


def _walk(problem: Problem, setting: Setting, y0: Array, s: Array, h: Array) -> tuple[Array, Array]:
    """The state at the end and those at the beginnings of all steps."""
    field = forward_field(problem, setting)

    def one(y: Array, data: tuple[Array, Array]) -> tuple[Array, Array]:
        return step(field, problem.tableau, data[0], y, data[1]), y

    return jax.lax.scan(one, y0, (s, h))
