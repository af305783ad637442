"""One step of a Rosenbrock method: implicit but linear, one factorisation and eight solves.

Rodas5P (Steinebach 2023): order 5 with an estimate of order 4, L-stable, stiffly accurate. The gradient of a
step goes through the linear solves by the transposed ones, never through the factorisation.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode import rodas5p_numbers as numbers
from backthrough.ode.linear import solver_of
from backthrough.ode.rungekutta import Field, combine


@dataclass(frozen=True, eq=False)
class Rosenbrock:
    """A Rosenbrock method; there is one.

    Attributes:
        name: What it is called in messages.
        order: The order of the solution that is carried on.
        error_order: One above the order of the lower solution, the exponent of step control.
        n_stages: Evaluations of the field in a step, beside its Jacobian.
    """

    name: str = "Rodas5P"
    order: int = 5
    error_order: int = 5
    n_stages: int = 8
    adaptive: bool = True


RODAS5P = Rosenbrock()


def solve_stages(field: Field, s: Array, y: Array, h: Array, slope: Array) -> tuple[Array, list[Array]]:
    """The state a step further, and the stages; the last one is the estimate of the error."""
    there = h > 0  # a step of size zero changes nothing, nor does any derivative by its size
    h = jnp.where(there, h, jnp.finfo(y.dtype).tiny ** 0.1)
    _, in_time = jax.jvp(lambda s: field(s, y), (s,), (jnp.ones_like(s),))
    _, along = jax.linearize(lambda y: field(s, y), y)
    basis = jnp.eye(y.shape[0], dtype=y.dtype).reshape(y.shape[0], *y.shape[:1], *(1,) * h.ndim)
    jacobian = jax.vmap(along, out_axes=1)(jnp.broadcast_to(basis, (y.shape[0], *y.shape)))
    diagonal = jnp.eye(y.shape[0], dtype=y.dtype).reshape(*y.shape[:1], *y.shape[:1], *(1,) * h.ndim)
    solve = solver_of(diagonal / (h * numbers.GAMMA) - jacobian)
    ks = [solve(slope + numbers.IN_TIME[0] * h * in_time)]
    end = y
    for index, row in enumerate(numbers.C, start=1):
        end = y + combine(numbers.A[index - 1], ks) if index < 6 else end + ks[-1]
        time = numbers.TIMES[index] if index < 5 else 1.0
        right = field(s + time * h, end) + combine(row, ks) / h
        if index < 5:
            right = right + numbers.IN_TIME[index] * h * in_time
        ks.append(solve(right))
    ks = [jnp.where(there, k, 0) for k in ks]
    return jnp.where(there, end, y) + ks[-1], ks


def step(field: Field, s: Array, y: Array, h: Array) -> Array:
    """The state a step further."""
    return solve_stages(field, s, y, h, field(s, y))[0]


def attempt(field: Field, s: Array, y: Array, h: Array, slope: Array) -> tuple[Array, Array, list[Array]]:
    """State and derivative a step further, and the estimate of the error."""
    end, ks = solve_stages(field, s, y, h, slope)
    return end, field(s + h, end), ks[-1:]


def polynomials(field: Field, s: Array, y: Array, h: Array) -> Array:
    """The coefficients of x, x^2, ... in the states at the fractions x of many steps, (powers, n, size)."""

    def one(s: Array, y: Array, h: Array) -> Array:
        end, ks = solve_stages(field, s, y, h, field(s, y))
        first, second, third = (combine(row, ks) for row in numbers.DENSE)
        return jnp.stack([end - y + first, second - first, third - second, -third])

    return jax.vmap(one, out_axes=1)(s, y, h)
