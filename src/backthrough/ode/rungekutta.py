"""One step of an explicit Runge-Kutta method, on one state `(size,)` or on lanes `(size, lanes)`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.ode.tableaux import Tableau

Field = Callable[[Array, Array], Array]
"""(time from the start, state) -> derivative; times have the shape of the lanes."""

Linearise = Callable[[Array, Array], tuple[Array, Callable[[Array], Sequence[Array]]]]
"""(time, state) -> derivative, and the map from its cotangent to those of the state and of parameters."""

SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 10.0
PROPORTIONAL, INTEGRAL = 0.4, 0.3  # of the PI controller (Hairer and Wanner 1996, IV.2)


def combine(weights: Sequence[float], vectors: Sequence[Array]) -> Array:
    """The weighted sum without its zero terms."""
    terms = [w * v for w, v in zip(weights, vectors, strict=False) if w]
    return sum(terms[1:], start=terms[0])


def stages(
    field: Field, tableau: Tableau, s: Array, y: Array, h: Array, k1: Array, n_stages: int
) -> tuple[list[Array], list[Array], list[Array]]:
    """The first `n_stages` stages: their times, states and derivatives."""
    times, states, slopes = [s], [y], [k1]
    for row, c in zip(tableau.a[: n_stages - 1], tableau.c[: n_stages - 1], strict=True):
        times.append(s + c * h)
        states.append(y + h * combine(row, slopes))
        slopes.append(field(times[-1], states[-1]))
    return times, states, slopes


def step(field: Field, tableau: Tableau, s: Array, y: Array, h: Array) -> Array:
    """The state a step further."""
    _, _, slopes = stages(field, tableau, s, y, h, field(s, y), tableau.n_stages)
    return y + h * combine(tableau.b, slopes)


def step_many(field: Field, tableau: Tableau, s: Array, y: Array, h: Array) -> Array:
    """The states `(n, ...)` a step further, from many states at once."""
    slopes = _stages_many(field, tableau.a[: tableau.n_stages - 1], tableau.c, s, y, h)
    return y + _weighted(h * jnp.asarray(tableau.b, y.dtype).reshape(-1, *(1,) * h.ndim), slopes)


def interpolate_many(field: Field, tableau: Tableau, s: Array, y: Array, h: Array, theta: Array) -> Array:
    """The states at the fractions `theta` of many steps, from those at their beginnings."""
    slopes = _stages_many(field, tableau.a + tableau.a_dense, tableau.c + tableau.c_dense, s, y, h)
    powers = jnp.stack([theta ** (k + 1) for k in range(tableau.dense.shape[1])])
    return y + _weighted(h * jnp.tensordot(jnp.asarray(tableau.dense, y.dtype), powers, 1), slopes)


def polynomials(field: Field, tableau: Tableau, s: Array, y: Array, h: Array) -> Array:
    """The coefficients of x, x^2, ... in the states at the fractions x of many steps, (powers, n, size)."""
    slopes = _stages_many(field, tableau.a + tableau.a_dense, tableau.c + tableau.c_dense, s, y, h)
    return h[:, None] * jnp.tensordot(jnp.asarray(tableau.dense.T, y.dtype), slopes, 1)


def _stages_many(
    field: Field, a: Sequence[Sequence[float]], c: Sequence[float], s: Array, y: Array, h: Array
) -> Array:
    """The derivatives of the stages of many steps, in a loop over the stages.

    Written out, the compiler would fuse the stages and compute early ones again for every later one; in the
    loop of the solver itself it cannot.
    """
    n = len(a) + 1
    matrix = jnp.asarray([[*row, *(0.0,) * (n - len(row))] for row in a], y.dtype)
    field = jax.vmap(field)
    slopes = jnp.zeros((n, *y.shape), y.dtype).at[0].set(field(s, y))

    def one(slopes: Array, data: tuple[Array, Array, Array]) -> tuple[Array, None]:
        index, row, time = data
        slope = field(s + time * h, y + h[:, None] * jnp.tensordot(row, slopes, 1))
        return slopes.at[index].set(slope), None

    times = jnp.asarray(c[: n - 1], y.dtype)
    return jax.lax.scan(one, slopes, (jnp.arange(1, n), matrix, times))[0]


def _weighted(weights: Array, slopes: Array) -> Array:
    """The sum over stages; weights `(stages, n, *lanes)`, slopes `(stages, n, size, *lanes)`."""
    return jnp.sum(weights[:, :, None] * slopes, axis=0)


def mean_square(x: Array) -> Array:
    """Mean of squares over the state, for each lane."""
    return jnp.mean(jnp.square(x), axis=0)


def attempt(
    field: Field, tableau: Tableau, s: Array, y: Array, h: Array, slope: Array
) -> tuple[Array, Array, list[Array]]:
    """State and derivative a step further, and the estimates of the error."""
    _, states, slopes = stages(field, tableau, s, y, h, slope, len(tableau.a) + 1)
    return states[-1], slopes[-1], estimates(tableau, h, slopes)


def estimates(tableau: Tableau, h: Array, slopes: Sequence[Array]) -> list[Array]:
    """The estimates of the error, one or two."""
    rows = [tableau.error, tableau.second_error] if tableau.second_error else [tableau.error]
    return [h * combine(row, slopes) for row in rows]


def tolerance(y0: Array, y1: Array, rtol: Array, atol: Array) -> Array:
    """The error allowed in each entry of a step from y0 to y1."""
    return atol + rtol * jnp.maximum(jnp.abs(y0), jnp.abs(y1))


def squared_error(errors: Sequence[Array], scale: Array) -> Array:
    """The square of the error over the tolerance; a step is accepted up to 1 (Hairer et al. 1993, II.4).

    A second estimate is combined with the first as in DOP853.
    """
    error, *second = (mean_square(x / scale) for x in errors)
    if not second:
        return error
    both = error + 0.01 * second[0]
    return jnp.where(both > 0, error * error / jnp.where(both > 0, both, 1.0), error)


def next_step(
    order: int, h: Array, accepted: Array, error: Array, last_error: Array
) -> Float[Array, "*lanes"]:
    """The next step size by the PI controller; errors are squared.

    There is no rule that a step may not shrink after an accepted one: it would be tried again and rejected.
    An error that is not finite shrinks the step most.
    """
    finite = jnp.isfinite(error)
    tiny = jnp.finfo(error.dtype).tiny
    log_error = jnp.log(jnp.maximum(jnp.where(finite, error, 1.0), tiny))
    log_last = jnp.log(jnp.maximum(last_error, tiny))
    after_accepted = -(PROPORTIONAL + INTEGRAL) * log_error + PROPORTIONAL * log_last
    exponent = jnp.where(accepted, after_accepted, -log_error) * (0.5 / order)
    factor = jnp.clip(SAFETY * jnp.exp(exponent), SMALLEST, LARGEST)
    return h * jnp.where(finite, factor, SMALLEST)


def first_step(
    field: Field, order: int, y0: Array, f0: Array, span: Array, rtol: Array, atol: Array
) -> Array:
    """A first step size (Hairer et al. 1993, II.4) with root-mean-square norms; one evaluation."""
    scale = atol + rtol * jnp.abs(y0)
    d0 = jnp.sqrt(mean_square(y0 / scale))
    d1 = jnp.sqrt(mean_square(f0 / scale))
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = jnp.where(small, 1e-6, 0.01 * d0 / jnp.where(small, 1.0, d1))
    h0 = jnp.minimum(h0, span)
    f1 = field(h0, y0 + h0 * f0)
    d2 = jnp.sqrt(mean_square((f1 - f0) / scale)) / h0
    largest = jnp.maximum(d1, d2)
    flat = largest <= 1e-15
    h1 = jnp.where(flat, jnp.maximum(1e-6, h0 * 1e-3), (0.01 / jnp.where(flat, 1.0, largest)) ** (1 / order))
    h = jnp.minimum(jnp.minimum(100 * h0, h1), span)
    return jnp.where(jnp.isfinite(h) & (h > 0), h, h0)


def pull_step(
    linearise: Linearise, tableau: Tableau, s: Array, y: Array, h: Array, cotangent: Array
) -> tuple[Array, list[Array], list[Array], list[Array], list[Array]]:
    """The cotangent of the state at the beginning of a step, from that at its end.

    Returns:
        That cotangent; the sum of the parameters' cotangents that `linearise` gives; and times, states and
        cotangents of the stages, from which the parameters' gradients can be formed for many steps at once.
    """
    n = tableau.n_stages
    times, states, slopes, pulls = [s], [y], [], []
    for index in range(n):
        if index:
            times.append(s + tableau.c[index - 1] * h)
            states.append(y + h * combine(tableau.a[index - 1], slopes))
        slope, pull = linearise(times[-1], states[-1])
        slopes.append(slope)
        pulls.append(pull)
    result, gradient = cotangent, []
    of_states: list[Any] = [None] * n
    of_slopes: list[Any] = [None] * n
    for index in reversed(range(n)):
        terms = [tableau.b[index] * cotangent] if tableau.b[index] else []
        for later in range(index + 1, n):
            weight = tableau.a[later - 1][index]
            if weight:
                terms.append(weight * of_states[later])
        of_slopes[index] = h * sum(terms[1:], start=terms[0])
        of_states[index], *more = pulls[index](of_slopes[index])
        gradient = [g + new for g, new in zip(gradient, more, strict=True)] if gradient else more
        result = result + of_states[index]
    return result, gradient, times, states, of_slopes
