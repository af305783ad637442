"""Gradients through any ODE solver."""

from backthrough.ode.adjoints import Discrete, Unrolled
from backthrough.ode.blackbox import BlackBox, blackbox
from backthrough.ode.block import ODEBlock
from backthrough.ode.odeint import odeint
from backthrough.ode.solution import Solution, SolveError, Stats, Status
from backthrough.ode.solvers import (
    RK4,
    Adaptive,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    FixedStep,
    Heun,
    Midpoint,
    Tsit5,
)

__all__ = [
    "RK4",
    "Adaptive",
    "BlackBox",
    "Bosh3",
    "Discrete",
    "Dopri5",
    "Dopri8",
    "Euler",
    "FixedStep",
    "Heun",
    "Midpoint",
    "ODEBlock",
    "Solution",
    "SolveError",
    "Stats",
    "Status",
    "Tsit5",
    "Unrolled",
    "blackbox",
    "odeint",
]
