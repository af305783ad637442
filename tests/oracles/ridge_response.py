"""Ridge regression with a penalty for each weight: best response and hypergradient in closed form."""

import jax.numpy as jnp
import numpy as np

_generator = np.random.default_rng(3)
FEATURES = 4
X = _generator.normal(size=(12, FEATURES))
Y = X @ np.array([1.0, -0.5, 0.0, 0.2]) + 0.7 * _generator.normal(size=12)
X_VALID = _generator.normal(size=(40, FEATURES))
Y_VALID = X_VALID @ np.array([1.0, -0.5, 0.0, 0.2]) + 0.7 * _generator.normal(size=40)


def train_loss(w, hyper):
    x, y = (
        jnp.asarray(X, w.dtype),
        jnp.asarray(Y, w.dtype),
    )  # JAX keeps NumPy constants in the first precision
    return jnp.mean((x @ w - y) ** 2) + jnp.sum(hyper["decay"] * w**2)


def valid_loss(w):
    w = jnp.asarray(w)
    x, y = jnp.asarray(X_VALID, w.dtype), jnp.asarray(Y_VALID, w.dtype)
    return jnp.mean((x @ w - y) ** 2)


def response(log_decay):
    """w*(lambda), for one log lambda or one each weight."""
    decay = np.broadcast_to(np.exp(log_decay), FEATURES)
    return np.linalg.solve(X.T @ X / len(X) + np.diag(decay), X.T @ Y / len(X))


def valid_at(log_decay):
    return float(np.mean((X_VALID @ response(log_decay) - Y_VALID) ** 2))


def exact_hypergradient(log_decay):
    """dL_V / d log lambda, shape (h,), by differences in double precision."""
    log_decay = np.atleast_1d(np.asarray(log_decay, float))
    step = 1e-5 * np.eye(log_decay.size)
    return np.array([(valid_at(log_decay + own) - valid_at(log_decay - own)) / 2e-5 for own in step])


def optimum():
    """The best single log lambda on a fine grid, and its validation loss."""
    grid = np.linspace(-10, 4, 2801)
    losses = [valid_at(own) for own in grid]
    return grid[int(np.argmin(losses))], min(losses)
