"""Problems whose solutions and gradients are known."""

import contextlib

import jax
import jax.numpy as jnp
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


def van_der_pol(t, y, args):
    mu, w = args
    return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - w * y[0]])


def relative(a, b):
    """The largest difference, relative to the largest entry of `b`."""
    return float(jnp.abs(a - b).max() / jnp.abs(b).max())
