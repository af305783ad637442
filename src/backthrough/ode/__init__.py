"""Gradients through any ODE solver."""

from backthrough.ode.adjoints import Backsolve, Continuous, Discrete, Interpolated, Unrolled
from backthrough.ode.batch import odeint_batch
from backthrough.ode.blackbox import BlackBox, blackbox
from backthrough.ode.block import ODEBlock
from backthrough.ode.events import Event, odeint_event
from backthrough.ode.gradient_check import GradientCheck, check_gradients
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
    Rodas5P,
    Tsit5,
)

__all__ = [
    "RK4",
    "Adaptive",
    "Backsolve",
    "BlackBox",
    "Bosh3",
    "Continuous",
    "Discrete",
    "Dopri5",
    "Dopri8",
    "Euler",
    "Event",
    "FixedStep",
    "GradientCheck",
    "Heun",
    "Interpolated",
    "Midpoint",
    "ODEBlock",
    "Rodas5P",
    "Solution",
    "SolveError",
    "Stats",
    "Status",
    "Tsit5",
    "Unrolled",
    "blackbox",
    "check_gradients",
    "odeint",
    "odeint_batch",
    "odeint_event",
]
