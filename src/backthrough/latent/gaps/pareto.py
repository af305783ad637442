"""How heavy the tail of importance weights is (Vehtari, Simpson, Gelman, Yao and Gabry 2024)."""

import numpy as np
from jaxtyping import Float

FINITE_VARIANCE = 0.5  # below it the weights' variance exists, and so does the error of their mean
LARGEST_SHAPE = 0.7  # beyond it the error of a mean of weights cannot be told from the weights


def tail_size(n_weights: int) -> int:
    """How many of the largest weights are looked at: a fifth, or three square roots of their number."""
    return int(min(0.2 * n_weights, 3 * np.sqrt(n_weights)))


def pareto_shape(log_weights: Float[np.ndarray, "tail"]) -> float:
    """The shape k of a generalised Pareto distribution fitted to the largest weights.

    Their mean exists for k < 1 and their variance for k < 1/2; up to 0.7 an estimate and its error are still
    of use. Fitted as Zhang and Stephens (2009) do, and drawn towards 1/2 as ten more observations would.

    Args:
        log_weights: The largest ones; the smallest of these is where the tail begins.

    Returns:
        k; NaN for fewer than six, infinite where some are zero, minus infinity where nearly all are the same.
    """
    if len(log_weights) < 6:
        return np.nan
    logs = np.sort(np.asarray(log_weights, float))
    if not np.isfinite(logs).all():
        return np.inf
    excess = np.exp(logs - logs[-1]) - np.exp(logs[0] - logs[-1])
    excess = excess[excess > 0]
    n = len(excess)
    if n < 5:
        return -np.inf
    grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quartile)
    shapes = np.log1p(-theta[:, None] * excess).mean(1)
    profile = n * (np.log(-theta / shapes) - shapes - 1)
    weights = 1 / np.exp(profile - profile[:, None]).sum(1)
    best = (theta * weights).sum() / weights.sum()
    shape = np.log1p(-best * excess).mean()
    return float((n * shape + 5) / (n + 10))
