"""I(z_j; v) of every latent and factor, by cutting z_j into cells.

q(z_j) and q(z_j | v) are mixtures in one dimension. Let c be the cell that z_j falls into. The mass of each
posterior in each cell is a difference of two normal distribution functions, so that I(c; v) is had without
sampling. By the data-processing inequality it is at most I(z_j; v) for any cells, and finer cells can only
raise it; a part of the cuts are quantiles, so that every scale is served, also where codes lie
far apart.

What is still missing is estimated in two parts. Where cells are finer than the posteriors in them, halving
their number shows it. Where they are not, halving shows nothing: all that v could still be told there, H(v)
given the cell, may be missing.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import entr, ndtri

from backthrough.core import ArgumentError, DataError, check_integer
from backthrough.latent.disentanglement.codes import Codes
from backthrough.latent.disentanglement.factors import Factors
from backthrough.train import ProgressBar

EXAMPLES_AT_ONCE = 4096
DRAWS_FOR_EDGES = 2**16
MASS_OUTSIDE = 1e-3  # of cells of equal width, on either side
FARTHEST = 1e30  # in units of the middle half


class MutualInformation(NamedTuple):
    """In nats.

    Attributes:
        values: I(z_j; v), from below, shape (latent, factor).
        errors: How far I(z_j; v) may be above that: twice what halving the number of cells takes from it
            (about six times what is missing where cells are fine enough), the entropy of v that is left
            within cells, as far as they are wider than posteriors that lie in them, and rounding.
        entropies: H(v), shape (factor,).
    """

    values: Float[np.ndarray, "latent factor"]
    errors: Float[np.ndarray, "latent factor"]
    entropies: Float[np.ndarray, " factor"]


def mutual_information(codes: Codes, factors: Factors, *, n_cells: int = 512) -> MutualInformation:
    """I(z_j; v) between each coordinate of the codes and each factor.

    Args:
        codes: Posteriors of a data set.
        factors: Of the same examples. Factors may be correlated, and combinations may be missing.
        n_cells: One more than cells of each coordinate: a multiple of 4, at least 8.

    Raises:
        ArgumentError: for a wrong number of cells or examples.
        DataError: for a factor of one value, where weights leave no other.
    """
    n_cells = check_integer("n_cells", n_cells, minimum=8)
    if n_cells % 4:
        raise ArgumentError(f"n_cells must be a multiple of 4, got {n_cells}")
    if len(factors.labels) != codes.n:
        is_turned = codes.latent_size == len(factors.labels)
        cure = ": transpose means and scales" if is_turned else ""
        raise ArgumentError(f"there are {codes.n:,} codes and {len(factors.labels):,} rows of factors{cure}")
    p = factors.probabilities(codes.weights)
    for name, own in zip(factors.names, p, strict=True):
        if (own > 0).sum() < 2:
            raise DataError(f"factor {name!r} has one value among examples of weight above 0: leave it out")
    masses, halves, narrow = _masses(codes, factors, n_cells)
    fine = np.stack([_between(own) for own in masses], axis=1)
    coarse = np.stack([_between(own) for own in halves], axis=1)
    hidden = np.stack([(narrow * _entropies_within(own)).sum(1) for own in masses], axis=1)
    rounding = 30 * float(jnp.finfo(jnp.result_type(float)).eps)
    entropies = np.array([entr(own).sum() for own in p])
    missing = np.minimum(2 * np.maximum(fine - coarse, 0.0) + hidden, np.maximum(entropies - fine, 0.0))
    return MutualInformation(fine, missing + rounding, entropies)


def _between(masses: np.ndarray) -> np.ndarray:
    """That of each latent's cells and a factor, from p(v, cell), shape (latent, value, cell)."""
    product = masses.sum(2, keepdims=True) * masses.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(masses > 0, masses * np.log(masses / product), 0.0)
    return np.maximum(terms.sum((1, 2)), 0.0)


def _entropies_within(masses: np.ndarray) -> np.ndarray:
    """H(v) given the cell, shape (latent, cell)."""
    masses = np.maximum(masses, 0.0)  # differences are rounded
    of_cell = masses.sum(1, keepdims=True)
    return entr(masses / np.where(of_cell > 0, of_cell, 1.0)).sum(1)


def _masses(codes: Codes, factors: Factors, n_cells: int) -> tuple[list, list, np.ndarray]:
    """p(v, cell of z_j) of each factor, shape (latent, value, cell), and of half as many cells.

    And, shape (latent, cell), the mass of posteriors that are too narrow for the cell that it lies in.
    """
    sizes = [len(own) for own in factors.values]
    first = [0, *itertools.accumulate(sizes)]
    labels = factors.labels + np.array(first[:-1])
    # Rounding to single precision must not depend on where a latent lies, or on its unit.
    # The unit is that of the middle half, since one code far away must not take the digits of all others.
    centre = np.median(codes.means, axis=0)
    unit = np.maximum(
        np.subtract(*np.quantile(codes.means, [0.75, 0.25], axis=0)), np.median(codes.scales, axis=0)
    )
    means, scales = (codes.means - centre) / unit, codes.scales / unit
    dtype = jnp.result_type(float)
    # Single precision ends at 1e38, and 0 / 0 must not occur: what is so far away, or so narrow, stays so.
    means = np.clip(means, -FARTHEST, FARTHEST).astype(dtype)
    scales = np.clip(scales, 1 / FARTHEST, FARTHEST).astype(dtype)
    columns = zip(means.T, scales.T, strict=True)
    cuts, stays, narrow = zip(*(_cells(*own, codes.weights, n_cells) for own in columns), strict=True)
    edges = jnp.asarray(np.stack(cuts))
    size = min(EXAMPLES_AT_ONCE, codes.n)
    total = np.zeros((codes.latent_size, first[-1], edges.shape[1] + 1))
    with ProgressBar("mutual information", codes.n) as bar:
        for start in range(0, codes.n, size):
            stop = min(start + size, codes.n)
            rows = np.minimum(np.arange(start, start + size), codes.n - 1)
            weights = np.where(np.arange(start, start + size) < stop, codes.weights[rows], 0.0)
            chunk = (means[rows], scales[rows], weights * codes.n)
            part = _sums(
                *(jnp.asarray(own, dtype) for own in chunk),
                jnp.asarray(labels[rows]),
                edges,
                first[-1],
            )
            total += np.asarray(part, np.float64)
            bar.update(stop)
    total /= codes.n
    starts = [np.concatenate([[0], 1 + np.flatnonzero(own)]) for own in stays]
    half = np.stack([np.add.reduceat(own, start, axis=1) for own, start in zip(total, starts, strict=True)])
    return np.split(total, first[1:-1], axis=1), np.split(half, first[1:-1], axis=1), np.stack(narrow)


@jax.jit(static_argnums=5)
def _sums(
    means: Array, scales: Array, weights: Array, labels: Array, edges: Array, n_values: int
) -> Float[Array, "latent value cell"]:
    """The weighted sum of posteriors' masses in each cell over the examples of each value."""
    belongs = (labels[:, :, None] == jnp.arange(n_values)).any(1) * weights[:, None]

    def of_latent(own: tuple[Array, Array, Array]) -> Array:
        mean, scale, edges = own
        # Twice the normal distribution function, less 1: its absolute rounding is all that matters here.
        below = jax.lax.erf((edges - mean[:, None]) * (math.sqrt(0.5) / scale)[:, None])
        masses = (below[:, :1] + 1, below[:, 1:] - below[:, :-1], 1 - below[:, -1:])
        return belongs.T @ (0.5 * jnp.concatenate(masses, axis=1))

    return jax.lax.map(of_latent, (means.T, scales.T, edges))


def _cells(
    means: np.ndarray, scales: np.ndarray, weights: np.ndarray, n_cells: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where cells end, which ends stay when there are half as many, and what is too narrow for each cell.

    Half of the ends are quantiles of the mixture, half equally far from each other. Quantiles are closer
    towards the tails, where ratios of densities are steep, and follow any scale. Equal distances put ends
    into what is empty between clusters. Too narrow are posteriors of a scale below half a cell's width.
    """
    levels = int(np.clip(-(-DRAWS_FOR_EDGES // len(means)), 8, 1024))
    draws = means[:, None].astype(np.float64) + scales[:, None] * ndtri((np.arange(levels) + 0.5) / levels)
    half = n_cells // 2
    places = np.arange(1, half) / half
    quantiles = np.quantile(draws, 0.5 - 0.5 * np.cos(np.pi * places))
    low, high = np.quantile(draws, [MASS_OUTSIDE, 1 - MASS_OUTSIDE])
    cuts = np.concatenate([quantiles, low + (high - low) * places]).astype(means.dtype)
    order = np.argsort(cuts, kind="stable")
    cuts = cuts[order]
    cells = np.searchsorted(cuts, draws.astype(means.dtype))
    is_narrow = 2 * scales[:, None] < np.diff(cuts, prepend=-np.inf, append=np.inf)[cells]
    narrow = np.bincount(cells.ravel(), (is_narrow * (weights / levels)[:, None]).ravel(), len(cuts) + 1)
    return cuts, np.tile(np.arange(1, half) % 2 == 0, 2)[order], narrow
