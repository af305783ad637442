"""y = w x + b + noise of a known scale, with a Gaussian prior: everything about it has a closed form."""

import numpy as np

ROWS, FEATURES, NOISE, PRIOR_VAR = 40, 3, 0.5, 2.0
_generator = np.random.default_rng(0)
X = _generator.normal(size=(ROWS, FEATURES)) @ np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.3], [0.0, 0.0, 0.5]])
Y = X @ np.array([1.0, -0.5, 0.8]) + 0.3 + NOISE * _generator.normal(size=ROWS)
DESIGN = np.concatenate([X, np.ones((ROWS, 1))], axis=1)
PRECISION = DESIGN.T @ DESIGN / NOISE**2 + np.eye(FEATURES + 1) / PRIOR_VAR
MEAN = np.linalg.solve(PRECISION, DESIGN.T @ Y / NOISE**2)


def flat(linear) -> np.ndarray:
    """Weights and then bias of linear layers, with their leading axes; shape (..., 4)."""
    return np.concatenate([np.asarray(linear.weight)[..., 0, :], np.asarray(linear.bias)], axis=-1)


def dropout_optimum(rate: float) -> np.ndarray:
    """What minimises the mean squared error over drops of inputs plus the decay of Gal and Ghahramani."""
    keep = 1 - rate
    kept = np.array([keep] * FEATURES + [1.0])
    design = DESIGN * kept
    variance = np.diag([*(keep * rate * np.sum(X**2, axis=0)), 0.0])
    precision = (design.T @ design + variance) / NOISE**2 + np.diag(kept) / PRIOR_VAR
    return np.linalg.solve(precision, design.T @ Y / NOISE**2)
