"""One step, by whatever kind of method."""

from typing import TypeAlias

import jax
from jaxtyping import Array

from backthrough.ode import rosenbrock, rungekutta
from backthrough.ode.rosenbrock import Rosenbrock
from backthrough.ode.rungekutta import Field
from backthrough.ode.tableaux import Tableau

AnyTableau: TypeAlias = Tableau | Rosenbrock


def attempt(
    field: Field, tableau: AnyTableau, s: Array, y: Array, h: Array, slope: Array
) -> tuple[Array, Array, list[Array]]:
    """State and derivative a step further, and the estimates of the error."""
    if isinstance(tableau, Rosenbrock):
        return rosenbrock.attempt(field, s, y, h, slope)
    return rungekutta.attempt(field, tableau, s, y, h, slope)


def step(field: Field, tableau: AnyTableau, s: Array, y: Array, h: Array) -> Array:
    """The state a step further."""
    if isinstance(tableau, Rosenbrock):
        return rosenbrock.step(field, s, y, h)
    return rungekutta.step(field, tableau, s, y, h)


def step_many(field: Field, tableau: AnyTableau, s: Array, y: Array, h: Array) -> Array:
    """The states `(n, ...)` a step further, from many states at once."""
    if isinstance(tableau, Rosenbrock):
        return jax.vmap(lambda *row: rosenbrock.step(field, *row))(s, y, h)
    return rungekutta.step_many(field, tableau, s, y, h)


def polynomials(field: Field, tableau: AnyTableau, s: Array, y: Array, h: Array) -> Array:
    """The coefficients of x, x^2, ... in the states at the fractions x of many steps, (powers, n, size)."""
    if isinstance(tableau, Rosenbrock):
        return rosenbrock.polynomials(field, s, y, h)
    return rungekutta.polynomials(field, tableau, s, y, h)


def interpolate_many(
    field: Field, tableau: AnyTableau, s: Array, y: Array, h: Array, theta: Array, *, loop: bool
) -> Array:
    """The states at the fractions `theta` of many steps, from those at their beginnings."""
    if isinstance(tableau, Rosenbrock):
        curve = rosenbrock.polynomials(field, s, y, h)
        return y + sum(theta[:, None] ** (k + 1) * row for k, row in enumerate(curve))
    return rungekutta.interpolate_many(field, tableau, s, y, h, theta, loop=loop)
