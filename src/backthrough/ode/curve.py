"""The solution between the steps of a stretch, as polynomials."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import polynomials
from backthrough.ode.setting import Problem, Setting, forward_field
from backthrough.ode.store import Rows

AT_ONCE = 8  # rows; numbers of rows are multiples of it, or smaller powers of two


class Curve(NamedTuple):
    """The states y + h (c_1 x + c_2 x^2 + ...) at the fractions x of some steps.

    Attributes:
        s: Times at the beginnings of the steps, rising; infinite where there is no step. Shape (rows,).
        h: Their sizes.
        y: The states there, shape (rows, size).
        coefficients: h c_1, h c_2, ..., shape (powers, rows, size).
    """

    s: Array
    h: Array
    y: Array
    coefficients: Array

    def before(self, s: Array) -> "Window":
        """The step in which or at whose end the time `s` is, and the one before it.

        Who comes to the beginning of a step is not in it any more.
        """
        row = jnp.maximum(jnp.sum(self.s < s, axis=0) - 1, 0)
        border = take_row(self.s, row)
        n_before = jnp.sum(self.s < border, axis=0)
        earlier = jnp.where(n_before > 0, n_before - 1, row)
        late, early = (
            [*(take_row(x, at) for x in self[:3]), jnp.stack([take_row(c, at) for c in self.coefficients])]
            for at in (row, earlier)
        )
        return Window(take_row(self.s, earlier), Piece(*late), Piece(*early))

    def first_end(self) -> Array:
        """Where the first step ends; infinite where there is only one."""
        return jnp.min(jnp.where(self.s > self.s[0], self.s, jnp.inf), axis=0)


class Piece(NamedTuple):
    """One step of a curve, or one of each lane.

    Attributes:
        s: Time at its beginning.
        h: Its size.
        y: The state there, shape (size,).
        coefficients: Of its polynomial, shape (powers, size).
    """

    s: Array
    h: Array
    y: Array
    coefficients: Array


class Window(NamedTuple):
    """Two neighbouring steps of a curve.

    Attributes:
        begin: Where the earlier one begins.
        late: The later one.
        early: The earlier one.
    """

    begin: Array
    late: Piece
    early: Piece

    def at(self, s: Array) -> Array:
        """The state at `s`."""
        later = s >= self.late.s
        piece = Piece(*(jnp.where(later, *both) for both in zip(self.late, self.early, strict=True)))
        x = (s - piece.s) / jnp.where(piece.h > 0, piece.h, 1.0)
        total = piece.coefficients[-1]
        for coefficients in piece.coefficients[-2::-1]:
            total = coefficients + x * total
        return piece.y + x * total


def curve_of(problem: Problem, setting: Setting, rows: Rows, count: Array) -> Curve:
    """The curve through the first `count` rows."""
    field = forward_field(problem, setting)
    there = (jnp.arange(rows.s.shape[0]) < count).reshape(-1, *(1,) * (rows.s.ndim - 1))
    s = jnp.where(there, rows.s, 0)  # the field is evaluated at a time that exists
    h = jnp.where(there, rows.h, 0)
    at_once = min(AT_ONCE, rows.s.shape[0])

    def some(i: Array, coefficients: Array) -> Array:
        first = i * at_once
        part = (jax.lax.dynamic_slice_in_dim(x, first, at_once) for x in (s, rows.y, h))
        new = polynomials(field, problem.tableau, *part)
        return jax.lax.dynamic_update_slice_in_dim(coefficients, new, first, axis=1)

    shape = jax.eval_shape(lambda: polynomials(field, problem.tableau, s, rows.y, h))
    n = -(-count // at_once)  # a stretch is seldom full: only the rows that are there are worth evaluations
    coefficients = jax.lax.fori_loop(0, n, some, jnp.zeros(shape.shape, shape.dtype))
    return Curve(jnp.where(there, rows.s, jnp.inf), h, rows.y, coefficients)


def take_row(rows: Array, row: Array) -> Array:
    """rows[row], or with lanes rows[row[lane], ..., lane]."""
    if row.ndim == 0:
        return rows[row]
    at = row.reshape(1, *(1,) * (rows.ndim - 2), row.shape[0])
    return jnp.take_along_axis(rows, at, axis=0)[0]
