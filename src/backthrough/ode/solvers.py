"""The solvers: what is stepped with, and how finely."""

from typing import TypeAlias

import equinox as eqx
from jaxtyping import Array, Float

from backthrough.core import check_integer
from backthrough.ode import tableaux
from backthrough.ode.onestep import AnyTableau
from backthrough.ode.rosenbrock import RODAS5P
from backthrough.ode.tableaux import Tableau

Tolerance: TypeAlias = float | Float[Array, "*batch"]


class Adaptive(eqx.Module):
    """A method that chooses its steps.

    A step is accepted when the root mean square of `error / (atol + rtol * |y|)` is at most one.

    Attributes:
        tableau: Its coefficients.
        rtol: Relative tolerance; may be an array, so that `vmap` gives each example its own;
            of shape (batch,) for `odeint_batch`.
        atol: Absolute tolerance, in the units of the state.
    """

    tableau: AnyTableau = eqx.field(static=True)
    rtol: Tolerance
    atol: Tolerance


class FixedStep(eqx.Module):
    """An explicit Runge-Kutta method with steps of one size between neighbouring times of `ts`.

    Attributes:
        tableau: Its coefficients.
        n_steps: Steps between neighbouring times.
    """

    tableau: Tableau = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)


def Dopri5(rtol: Tolerance = 1e-5, atol: Tolerance = 1e-6) -> Adaptive:
    """Dormand and Prince's method of order 5, the default."""
    return Adaptive(tableaux.DOPRI5, rtol, atol)


def Tsit5(rtol: Tolerance = 1e-5, atol: Tolerance = 1e-6) -> Adaptive:
    """Tsitouras's method of order 5; a little fewer steps than `Dopri5` on most problems."""
    return Adaptive(tableaux.TSIT5, rtol, atol)


def Bosh3(rtol: Tolerance = 1e-3, atol: Tolerance = 1e-6) -> Adaptive:
    """Bogacki and Shampine's method of order 3, for loose tolerances."""
    return Adaptive(tableaux.BOSH3, rtol, atol)


def Dopri8(rtol: Tolerance = 1e-6, atol: Tolerance = 1e-8) -> Adaptive:
    """Prince and Dormand's method of order 8 (DOP853), for tight tolerances in double precision."""
    return Adaptive(tableaux.DOPRI8, rtol, atol)


def Rodas5P(rtol: Tolerance = 1e-6, atol: Tolerance = 1e-8) -> Adaptive:
    """Steinebach's Rosenbrock method of order 5, for stiff problems; L-stable.

    A step evaluates the Jacobian and factorises one matrix of the size of the state.
    """
    return Adaptive(RODAS5P, rtol, atol)


def Euler(n_steps: int) -> FixedStep:
    """Euler's method, order 1, with `n_steps` steps between neighbouring times."""
    return FixedStep(tableaux.EULER, check_integer("n_steps", n_steps, minimum=1))


def Midpoint(n_steps: int) -> FixedStep:
    """The midpoint method, order 2, with `n_steps` steps between neighbouring times."""
    return FixedStep(tableaux.MIDPOINT, check_integer("n_steps", n_steps, minimum=1))


def Heun(n_steps: int) -> FixedStep:
    """Heun's method, order 2, with `n_steps` steps between neighbouring times."""
    return FixedStep(tableaux.HEUN, check_integer("n_steps", n_steps, minimum=1))


def RK4(n_steps: int) -> FixedStep:
    """The classical Runge-Kutta method, order 4, with `n_steps` steps between neighbouring times."""
    return FixedStep(tableaux.RK4, check_integer("n_steps", n_steps, minimum=1))
