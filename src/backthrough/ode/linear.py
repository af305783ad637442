"""Linear systems of a state's size, for one example or for lanes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array

WRITTEN_OUT = 4  # the largest size whose elimination is written out


def solver_of(matrix: Array) -> Callable[[Array], Array]:
    """x -> matrix^-1 x, for a matrix (size, size) or (size, size, lanes) that is factorised once.

    Derivatives are those of the solution of a linear system, by the same factors or their transpose.
    """
    constant = jax.lax.stop_gradient(matrix)
    if matrix.shape[0] <= WRITTEN_OUT:
        forwards, transposed = _eliminate(constant)
    else:
        moved = jnp.moveaxis(constant, (0, 1), (-2, -1))
        factors = lu_factor(moved)

        def by_factors(right: Array, transpose: int) -> Array:
            moved = jnp.moveaxis(right, 0, -1)[..., None]
            return jnp.moveaxis(lu_solve(factors, moved, trans=transpose)[..., 0], -1, 0)

        forwards, transposed = (lambda x: by_factors(x, 0)), (lambda x: by_factors(x, 1))

    def times(x: Array) -> Array:
        return jnp.sum(matrix * x[None], axis=1)

    def solve(right: Array) -> Array:
        return jax.lax.custom_linear_solve(times, right, lambda _, x: forwards(x), lambda _, x: transposed(x))

    return solve


def _eliminate(matrix: Array) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Solvers with a small matrix and with its transpose, with pairwise pivoting, all written out."""
    n = matrix.shape[0]
    rows = [[matrix[i, j] for j in range(n)] for i in range(n)]
    steps: list[tuple[int, int, Array, Array]] = []
    for k in range(n):
        for i in range(k + 1, n):
            swap = jnp.abs(rows[i][k]) > jnp.abs(rows[k][k])
            above = [jnp.where(swap, b, a) for a, b in zip(rows[k], rows[i], strict=True)]
            below = [jnp.where(swap, a, b) for a, b in zip(rows[k], rows[i], strict=True)]
            factor = below[k] / jnp.where(above[k] != 0, above[k], 1.0)
            rows[k], rows[i] = above, [b - factor * a for a, b in zip(above, below, strict=True)]
            steps.append((k, i, swap, factor))

    def forwards(right: Array) -> Array:
        x = [right[i] for i in range(n)]
        for k, i, swap, factor in steps:
            x[k], x[i] = jnp.where(swap, x[i], x[k]), jnp.where(swap, x[k], x[i])
            x[i] = x[i] - factor * x[k]
        for k in reversed(range(n)):
            for j in range(k + 1, n):
                x[k] = x[k] - rows[k][j] * x[j]
            x[k] = x[k] / rows[k][k]
        return jnp.stack(x)

    def transposed(right: Array) -> Array:
        x = [right[i] for i in range(n)]
        for k in range(n):
            for j in range(k):
                x[k] = x[k] - rows[j][k] * x[j]
            x[k] = x[k] / rows[k][k]
        for k, i, swap, factor in reversed(steps):
            x[k] = x[k] - factor * x[i]
            x[k], x[i] = jnp.where(swap, x[i], x[k]), jnp.where(swap, x[k], x[i])
        return jnp.stack(x)

    return forwards, transposed
