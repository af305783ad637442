"""The discrete adjoint: the exact gradient of the numerical solution, replayed from the accepted steps.

Adaptive checkpoint adjoint of Zhuang et al. 2020 (arXiv 2006.02493), with step sizes held constant. The
parameters' gradient has no feedback on the adjoint, so it is formed for many stages at once.
"""

from collections.abc import Sequence

from jaxtyping import Array

from backthrough.ode.differentiate import Method
from backthrough.ode.forward import integrate
from backthrough.ode.points import Points
from backthrough.ode.replay import replay
from backthrough.ode.setting import Problem, Setting
from backthrough.ode.stepping import State
from backthrough.ode.tape import N_TAPE, pack_tape, unpack_tape


def _record(problem: Problem, setting: Setting, y0: Array) -> tuple[State, Points | None, list[Array]]:
    state, points, levels = integrate(problem, setting, y0, keep=True)
    return state, points, pack_tape(points, levels, y0)


def _pull(
    problem: Problem, setting: Setting, wanted: tuple[int, ...], y0: Array, ct: Array, tape: Sequence[Array]
) -> list[Array]:
    n = y0.shape[-1] if y0.ndim > 1 else None
    return replay(problem, setting, wanted, ct, unpack_tape(tape, problem, n))


DISCRETE = Method("Discrete", N_TAPE, _record, _pull)
