"""A solve as a primitive operation, whose gradient one of the adjoints supplies."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.interpreters import ad
from jaxtyping import Array

from backthrough.core import ArgumentError
from backthrough.ode.forward import integrate
from backthrough.ode.points import Points
from backthrough.ode.programs import Lanes, Program, bind, lane_count, no_tangent
from backthrough.ode.setting import N_LEADING, Problem, Setting, unpack
from backthrough.ode.stepping import DONE, State

N_RESULTS = 5  # ys, accepted, rejected, status, time reached


class Method(NamedTuple):
    """One way to the gradient of a solve.

    Attributes:
        name: Of the adjoint, for messages.
        n_tape: How many arrays it keeps.
        record: (problem, setting, y0) -> state at the end, interior points, and the arrays kept, all of which
            end in the axis of lanes.
        pull: (problem, setting, wanted, y0, cotangents, tape) -> the cotangents of the initial state
            and of the wanted leaves, those of a leaf that the lanes share summed over them.
    """

    name: str
    n_tape: int
    record: Callable[[Problem, Setting, Array], tuple[State, Points | None, list[Array]]]
    pull: Callable[..., list[Array]]


class Solve(Program):
    """Solves.

    Args:
        problem: What to solve.
        method: Where its gradient comes from.
        keep: Whether to return what the adjoint needs, too.
    """

    def __init__(self, problem: Problem, method: Method, keep: bool = False):
        super().__init__()
        self.problem = problem
        self.method = method
        self.keep = keep

    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where each argument would have its lanes."""
        return leading_axes(n_arguments)

    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where each result has its lanes."""
        return (-1,) * (N_RESULTS + self.method.n_tape * self.keep)

    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The results."""
        y0, setting = unpack_all(arguments, lanes)
        if self.keep:
            state, points, tape = self.method.record(self.problem, setting, y0)
            return [*solution(setting, state, points), *tape]
        state, points, _ = integrate(self.problem, setting, y0, keep=False)
        return solution(setting, state, points)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Results and their tangents."""
        if self.keep:
            raise refuse_second_order(self.method.name)
        record = bind(Solve(self.problem, self.method, keep=True), primals, lanes)
        results, tape = record[:N_RESULTS], record[N_RESULTS:]
        y0_dot, ts_dot, _, *leaf_dots = tangents
        y0_dot = ad.instantiate_zeros(y0_dot)
        timed = not isinstance(ts_dot, ad.Zero)
        if timed:  # dL/dt_0 = -a(t_0) f(z_0, t_0), dL/dt_i = (dL/dz_i) f(z_i, t_i)
            y0_dot = y0_dot - velocity(self.problem, primals, primals[0], 0, lanes) * ts_dot[0]
        wanted = tuple(i for i, dot in enumerate(leaf_dots) if not isinstance(dot, ad.Zero))
        linear = [y0_dot, *(leaf_dots[i] for i in wanted)]
        program = Tangent(self.problem, self.method, wanted)
        flags = None if lanes is None else program.flags(lanes, len(tape))
        (ys_dot,) = bind(program, [*linear, *primals, *tape], flags)
        if timed:
            for index in range(results[0].shape[0]):
                at = velocity(self.problem, primals, results[0][index], index + 1, lanes)
                ys_dot = ys_dot.at[index].add(at * ts_dot[index + 1])
        zeros = [no_tangent(x) for x in results[1:]]
        return results, [ys_dot, *zeros]


class Tangent(Program):
    """The derivative of the solution, as a linear function of tangents; its transpose is `Adjoint`."""

    def __init__(self, problem: Problem, method: Method, wanted: tuple[int, ...]):
        super().__init__()
        self.problem = problem
        self.method = method
        self.wanted = wanted

    @property
    def n_linear(self) -> int:
        """How many arguments are tangents."""
        return 1 + len(self.wanted)

    def flags(self, lanes: tuple[bool, ...], n_tape: int) -> tuple[bool, ...]:
        """Which arguments have lanes, when tangents have them where their primals do."""
        linear = (lanes[0], *(lanes[N_LEADING + i] for i in self.wanted))
        return (*linear, *lanes, *(True,) * n_tape)

    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where each argument would have its lanes."""
        n_leaves = n_arguments - self.n_linear - N_LEADING - self.method.n_tape
        tape = (-1,) * self.method.n_tape
        return (-1, *(0,) * len(self.wanted), *leading_axes(N_LEADING + n_leaves), *tape)

    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where each result has its lanes."""
        return (-1,)

    def shapes(self, avals: Sequence[Any], lanes: Lanes) -> list[Any]:
        """Shapes and types of the results."""
        y0_dot, ts = avals[0], avals[self.n_linear + 1]
        shape = (ts.shape[0] - 1, y0_dot.shape[0])
        if lanes is not None:
            shape = (*shape, lane_count(avals, lanes, self.argument_axes(len(avals))))
        return [ShapedArray(shape, y0_dot.dtype)]

    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The results."""
        raise ArgumentError(
            f"{self.method.name}() has gradients in reverse mode only; for jax.jvp or jax.jacfwd use "
            "adjoint=Unrolled()"
        )

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Results and their tangents."""
        n = self.n_linear
        if any(not isinstance(dot, ad.Zero) for dot in tangents[n:]):
            raise refuse_second_order(self.method.name)
        linear = [ad.instantiate_zeros(dot) for dot in tangents[:n]]
        return bind(self, primals, lanes), bind(self, [*linear, *primals[n:]], lanes)

    def transpose(self, cotangents: Sequence[Any], arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The cotangents of the linear arguments."""
        n = self.n_linear
        rest = arguments[n:]
        (ct,) = cotangents
        ct = ad.instantiate_zeros(ct)
        if lanes is None:
            results = bind(Adjoint(self.problem, self.method, self.wanted, (False,) * n), [ct, *rest], None)
        else:
            summed = tuple(not lane for lane in lanes[:n])
            program = Adjoint(self.problem, self.method, self.wanted, summed)
            results = bind(program, [ct, *rest], (True, *lanes[n:]))
        return [*results, *(None,) * len(rest)]


class Adjoint(Program):
    """The cotangents of the initial state and of some leaves.

    Args:
        problem: What was solved.
        method: Where gradients come from.
        wanted: Which leaves.
        summed: For the state and each wanted leaf, whether it was shared by the lanes.
    """

    def __init__(self, problem: Problem, method: Method, wanted: tuple[int, ...], summed: tuple[bool, ...]):
        super().__init__()
        self.problem = problem
        self.method = method
        self.wanted = wanted
        self.summed = summed

    def unsummed(self) -> "Adjoint":
        """The same with every result given for each lane."""
        return Adjoint(self.problem, self.method, self.wanted, (False,) * len(self.summed))

    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where each argument would have its lanes."""
        n_tape = self.method.n_tape
        return (-1, *leading_axes(n_arguments - 1 - n_tape), *(-1,) * n_tape)

    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where each result has its lanes."""
        axes = (-1, *(0,) * len(self.wanted))
        return tuple(None if summed else axis for axis, summed in zip(axes, self.summed, strict=True))

    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The results."""
        ct, *rest = arguments
        n_primals = len(rest) - self.method.n_tape
        primals, tape = rest[:n_primals], rest[n_primals:]
        if lanes is None:
            y0, setting = unpack(primals, None)
        else:
            n = lane_count(arguments, lanes, self.argument_axes(len(arguments)))
            y0, setting = unpack(primals, lanes[1 : 1 + n_primals], n)
            flags = (lanes[0], *lanes[1 + n_primals :])
            ct, *tape = (
                x if own else jnp.broadcast_to(x[..., None], (*x.shape, n))
                for x, own in zip((ct, *tape), flags, strict=True)
            )
            shared = [i for i, total in zip(self.wanted, self.summed[1:], strict=True) if not total]
            setting = setting.own(shared, n)
        adjoint, *gradient = self.method.pull(self.problem, setting, self.wanted, y0, ct, tape)
        return [jnp.sum(adjoint, axis=-1) if lanes and self.summed[0] else adjoint, *gradient]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Results and their tangents."""
        raise refuse_second_order(self.method.name)


def leading_axes(n_arguments: int) -> tuple[int, ...]:
    """Lanes are the last axis of states, times and tolerances, and the first of leaves."""
    return (-1,) * N_LEADING + (0,) * (n_arguments - N_LEADING)


def unpack_all(arguments: Sequence[Any], lanes: Lanes) -> tuple[Array, Setting]:
    """The initial state and the setting, when there are no other arguments."""
    n = None if lanes is None else lane_count(arguments, lanes, leading_axes(len(arguments)))
    return unpack(arguments, lanes, n)


def solution(setting: Setting, state: State, points: Points | None) -> list[Array]:
    """The results of a solve: states at all times but the first, counts, status, time reached."""
    last = jnp.where(state.status == DONE, state.y, jnp.nan)[None]
    ys = last
    if points is not None:
        late = setting.times[:-1] >= setting.span  # only where a grid was padded with its last time
        ys = jnp.concatenate([jnp.where(late[:, None], last, points.y_save), last])
    return [ys, state.accepted, state.rejected, state.status, setting.real_time(state.s)]


def velocity(problem: Problem, arguments: Sequence[Any], y: Array, index: int, lanes: Lanes) -> Array:
    """f(t, y) at the time ts[index], with gradients stopped."""
    leaves = arguments[N_LEADING:]
    ts = arguments[1][index]
    if lanes is None:
        return problem.field(ts, y, leaves)
    return jax.vmap(
        problem.field,
        in_axes=(
            -1 if lanes[1] else None,
            -1 if y.ndim > 1 else None,
            [0 if own else None for own in lanes[N_LEADING:]],
        ),
        out_axes=-1,
    )(ts, y, list(leaves))


def refuse_second_order(name: str) -> ArgumentError:
    """The error for a second derivative."""
    return ArgumentError(
        f"{name}() has first derivatives only; for second derivatives use adjoint=Unrolled()"
    )
