"""One step of an explicit Runge-Kutta method, on one state `(size,)` or on lanes `(size, lanes)`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.ode.tableaux import Tableau

Field = Callable[[Array, Array], Array]
"""(time from the start, state) -> derivative; times have the shape of the lanes."""

FieldOf = Callable[..., Array]
"""(time, state, *leaves) -> derivative."""

SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 10.0
PROPORTIONAL, INTEGRAL = 0.4, 0.3  # of the PI controller (Hairer and Wanner 1996, IV.2)
STARTING = 0.0  # stands for the error of the last step until one was of about the right size
FAR = 2.0  # a step is far too small if its error alone would let it grow by more


def combine(weights: Sequence[float], vectors: Sequence[Array] | Array) -> Array:
    """The weighted sum without its zero terms."""
    terms: list[Array] = [w * v for w, v in zip(weights, vectors, strict=False) if w]
    return sum(terms[1:], start=terms[0])


def stages(
    field: Field, tableau: Tableau, s: Array, y: Array, h: Array, k1: Array, n_stages: int
) -> tuple[Array, Sequence[Array] | Array]:
    """The state of the last of the first `n_stages` stages, and the derivatives of all of them."""
    if tableau.looped:
        slopes = jnp.zeros((n_stages, *y.shape), y.dtype).at[0].set(k1)
        slopes, (_, states) = _loop(field, tableau.a, tableau.c, s, y, h, h, slopes, range(1, n_stages))
        return states[-1], slopes
    state, slopes = y, [k1]
    for row, c in zip(tableau.a[: n_stages - 1], tableau.c[: n_stages - 1], strict=True):
        state = y + h * combine(row, slopes)
        slopes.append(field(s + c * h, state))
    return state, slopes


def _loop(
    field: Field,
    a: Sequence[Sequence[float]],
    c: Sequence[float],
    s: Array,
    y: Array,
    h: Array,
    h_wide: Array,
    slopes: Array,
    which: range,
    added: Array | None = None,
) -> tuple[Array, tuple[Array, Array]]:
    """Some of the stages in a loop, which compiles the field once: their derivatives, times and states.

    Args:
        field: The vector field.
        a: Rows of the Butcher matrix, from the second stage on.
        c: Times of these stages.
        s: Time at the beginning.
        y: State there.
        h: Step size, of the shape of `s`.
        h_wide: The same, to multiply states with.
        slopes: Derivatives of the stages before `which`, with room for all.
        which: The stages, from 0.
        added: What is added to their derivatives.

    Returns:
        All derivatives; times and states of the stages `which`.
    """
    n = slopes.shape[0]
    matrix = jnp.asarray([[*row, *(0.0,) * (n - len(row))] for row in ((), *a[: n - 1])], y.dtype)
    times = jnp.asarray((0.0, *c[: n - 1]), y.dtype)
    data = [jnp.arange(n), matrix, times, *([] if added is None else [added])]

    def one(slopes: Array, data: Sequence[Array]) -> tuple[Array, tuple[Array, Array]]:
        index, row, time, *more = data
        time, state = s + time * h, y + h_wide * jnp.tensordot(row, slopes, 1)
        return slopes.at[index].set(sum(more, start=field(time, state))), (time, state)

    return jax.lax.scan(one, slopes, [x[which.start : which.stop] for x in data])


def step(field: Field, tableau: Tableau, s: Array, y: Array, h: Array) -> Array:
    """The state a step further."""
    _, slopes = stages(field, tableau, s, y, h, field(s, y), tableau.n_stages)
    return y + h * combine(tableau.b, slopes)


def step_many(field: Field, tableau: Tableau, s: Array, y: Array, h: Array) -> Array:
    """The states `(n, ...)` a step further, from many states at once."""
    slopes = _stages_many(field, tableau.a[: tableau.n_stages - 1], tableau.c, s, y, h)
    weights = h * jnp.asarray(tableau.b, y.dtype).reshape(-1, *(1,) * h.ndim)
    return y + jnp.sum(weights[:, :, None] * slopes, axis=0)


def interpolate_many(
    field: Field, tableau: Tableau, s: Array, y: Array, h: Array, theta: Array, *, loop: bool
) -> Array:
    """The states at the fractions `theta` of many steps, from those at their beginnings.

    With `loop` it compiles faster and has the faster derivatives, without it is faster itself.
    """
    a, c = tableau.a + tableau.a_dense, tableau.c + tableau.c_dense
    stages_of = _stages_many if loop or tableau.looped else _stages_many_written_out
    powers = [theta ** (k + 1) for k in range(tableau.dense.shape[1])]
    terms = [
        (h * combine(row, powers))[:, None] * slope
        for row, slope in zip(tableau.dense.tolist(), stages_of(field, a, c, s, y, h), strict=True)
        if any(row)
    ]
    return sum(terms, start=y)


def polynomials(field: Field, tableau: Tableau, s: Array, y: Array, h: Array) -> Array:
    """The coefficients of x, x^2, ... in the states at the fractions x of many steps, (powers, n, size)."""
    slopes = _stages_many(field, tableau.a + tableau.a_dense, tableau.c + tableau.c_dense, s, y, h)
    return h[:, None] * jnp.tensordot(jnp.asarray(tableau.dense.T, y.dtype), slopes, 1)


def _stages_many(
    field: Field, a: Sequence[Sequence[float]], c: Sequence[float], s: Array, y: Array, h: Array
) -> Array:
    """The derivatives of the stages of many steps.

    Without the loop the compiler would fuse the stages and compute early ones again for every later one; in
    the loop of the solver itself it cannot.
    """
    field = jax.vmap(field)
    slopes = jnp.zeros((len(a) + 1, *y.shape), y.dtype).at[0].set(field(s, y))
    return _loop(field, a, c, s, y, h, h[:, None], slopes, range(1, len(a) + 1))[0]


def _stages_many_written_out(
    field: Field, a: Sequence[Sequence[float]], c: Sequence[float], s: Array, y: Array, h: Array
) -> list[Array]:
    """The same with barriers in place of a loop: fewer kernels, but slow to compile when differentiated."""
    field = jax.vmap(field)
    slopes = [field(s, y)]
    for row, time in zip(a, c, strict=False):
        slope = field(s + time * h, y + h[:, None] * combine(row, slopes))
        slopes.append(jax.lax.optimization_barrier(slope))
    return slopes


def mean_square(x: Array) -> Array:
    """Mean of squares over the state, for each lane."""
    return jnp.mean(jnp.square(x), axis=0)


def attempt(
    field: Field, tableau: Tableau, s: Array, y: Array, h: Array, slope: Array
) -> tuple[Array, Array, list[Array]]:
    """State and derivative a step further, and the estimates of the error."""
    state, slopes = stages(field, tableau, s, y, h, slope, len(tableau.a) + 1)
    return state, slopes[-1], estimates(tableau, h, slopes)


def estimates(tableau: Tableau, h: Array, slopes: Sequence[Array] | Array) -> list[Array]:
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
) -> tuple[Float[Array, "*lanes"], Float[Array, "*lanes"]]:
    """The next step size, and the error to remember; errors are squared, and STARTING before the first step.

    While the first steps are far too small, they grow by their own error alone; the PI controller, which
    smooths what follows a step of about the right size, would need several more: a third of a solve of few
    steps. There is no rule that a step may not shrink after an accepted one: it would be tried again and
    rejected. An error that is not finite shrinks the step most.
    """
    finite = jnp.isfinite(error)
    tiny = jnp.finfo(error.dtype).tiny
    log_error = jnp.log(jnp.maximum(jnp.where(finite, error, 1.0), tiny))
    starting = last_error == STARTING
    log_last = jnp.log(jnp.where(starting, 1.0, jnp.maximum(last_error, tiny)))
    smooth = -(PROPORTIONAL + INTEGRAL) * log_error + PROPORTIONAL * log_last
    far = starting & (log_error < -2 * order * np.log(FAR))
    exponent = jnp.where(accepted & ~far, smooth, -log_error) * (0.5 / order)
    factor = jnp.clip(SAFETY * jnp.exp(exponent), SMALLEST, LARGEST)
    return h * jnp.where(finite, factor, SMALLEST), jnp.where(far, STARTING, error)


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
    field: FieldOf, tableau: Tableau, s: Array, y: Array, h: Array, cotangent: Array, leaves: Sequence[Array]
) -> tuple[Array, Sequence[Array], tuple[Array, Array, Array]]:
    """The cotangent of the state at the beginning of a step, from that at its end.

    Returns:
        That cotangent; those of the `leaves`; and times, states and cotangents of the stages, from which the
        gradients of other leaves can be formed for many steps at once.
    """
    if tableau.looped:
        return _pull_step_looped(field, tableau, s, y, h, cotangent, leaves)
    n = tableau.n_stages
    times, states, slopes, pulls = [s], [y], [], []
    for index in range(n):
        if index:
            times.append(s + tableau.c[index - 1] * h)
            states.append(y + h * combine(tableau.a[index - 1], slopes))
        slope, pull = jax.vjp(partial(field, times[-1]), states[-1], *leaves)
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
    return result, gradient, (jnp.stack(times), jnp.stack(states), jnp.stack(of_slopes))


def _pull_step_looped(
    field: FieldOf, tableau: Tableau, s: Array, y: Array, h: Array, cotangent: Array, leaves: Sequence[Array]
) -> tuple[Array, Sequence[Array], tuple[Array, Array, Array]]:
    """The same by a loop; the cotangents of the stages are those of something added to their derivatives."""
    n = tableau.n_stages
    nothing = jnp.zeros((n, *y.shape), y.dtype)

    def after(y: Array, added: Array, *leaves: Array) -> tuple[Array, tuple[Array, Array]]:
        def at(s: Array, y: Array) -> Array:
            return field(s, y, *leaves)

        slopes, stages = _loop(at, tableau.a, tableau.c, s, y, h, h, nothing, range(n), added)
        return y + h * combine(tableau.b, slopes), stages

    _, pull, (times, states) = jax.vjp(after, y, nothing, *leaves, has_aux=True)
    result, of_slopes, *gradient = pull(cotangent)
    return result, gradient, (times, states, of_slopes)
