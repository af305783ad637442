"""Problems whose solutions and gradients are known."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.scipy.linalg import expm

A = ((-0.3, 1.0, 0.2), (-1.0, -0.2, 0.1), (0.3, 0.0, -0.5))
Y0 = (1.0, 0.5, -0.3)


@contextlib.contextmanager
def double():
    """Double precision, whatever the suite runs in."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def linear(t, y, matrix):
    return matrix @ y


def linear_solution(y0, matrix, ts):
    return jax.vmap(lambda t: expm(matrix * (t - ts[0])) @ y0)(ts)


def weighted(ys):
    """A loss to which every state matters."""
    return jnp.sum(jnp.sin(ys) * jnp.arange(1.0, ys.shape[0] + 1)[:, None])


def weighted_exactly(y0, matrix, ts):
    """`weighted` of the linear solution at `ts` and its gradients, by SciPy's derivative of expm."""
    y0, matrix, ts = (np.asarray(x, float) for x in (y0, matrix, ts))
    value, of_y0, of_matrix, of_ts = 0.0, np.zeros_like(y0), np.zeros_like(matrix), np.zeros_like(ts)
    for k, t in enumerate(ts - ts[0]):
        y = scipy.linalg.expm(t * matrix) @ y0
        slope = (k + 1) * np.cos(y)
        push, change = scipy.linalg.expm_frechet(t * matrix.T, np.outer(slope, y0))
        value += (k + 1) * np.sin(y).sum()
        of_y0 += push @ slope
        of_matrix += t * change
        of_ts[k] += slope @ matrix @ y
        of_ts[0] -= slope @ matrix @ y
    return value, (of_y0, of_matrix, of_ts)


def van_der_pol(t, y, args):
    mu, w = args
    return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - w * y[0]])


def relative(a, b):
    """The largest difference, relative to the largest entry of `b`."""
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(b).max())
