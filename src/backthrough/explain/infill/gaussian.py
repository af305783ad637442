"""Hidden features given those that are kept, under a Gaussian fitted to examples: in closed form."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey
from backthrough.explain.infill.fitted import Seen, training_examples
from backthrough.explain.infill.infiller import Example, Mask, hide, keep, repeat

FLOOR = 1e-6  # least eigenvalue of the correlations: below, Cholesky factors in single precision may fail
ROUNDING = 8 * np.finfo(np.float32).eps  # the same for each unit of the largest eigenvalue


class GaussianConditional(eqx.Module):
    """Draws hidden features from the conditional distribution of a Gaussian.

    With correlations R of standardised features z, kept ones k and hidden ones h, the conditional mean is
    R_hk R_kk^-1 z_k and the covariance the Schur complement R_hh - R_hk R_kk^-1 R_kh. A draw is that of the
    whole Gaussian, corrected by the same map (Matheron's rule), so that one factorisation gives both, for
    any mask in one compiled program. It takes time of the cube of the number of features: rows of tables
    and small images.

    Attributes:
        mean: Of each feature, flat.
        std: Of each feature, flat.
        correlation: Of standardised features, after shrinkage.
        factor: Its lower Cholesky factor.
        seen: What it was fitted to.
        draws: Whether to draw; the conditional mean otherwise.
        shrinkage: What was used: the correlations are (1 - shrinkage) times those measured, off the diagonal.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(500, 1))
        >>> infiller = GaussianConditional.fit(np.hstack([x, 2 * x]), draws=False)
        >>> row, mask = jnp.array([0.5, 0.0]), jnp.array([True, False])
        >>> filled = infiller.sample(row, mask, key=jax.random.key(0), n_samples=1)
        >>> [round(float(value), 2) for value in filled[0]]
        [0.5, 1.0]
    """

    mean: Float[Array, "feature"]
    std: Float[Array, "feature"]
    correlation: Float[Array, "feature feature"]
    factor: Float[Array, "feature feature"]
    seen: Seen
    draws: bool = eqx.field(static=True)
    shrinkage: float = eqx.field(static=True)
    conditional: bool = eqx.field(default=True, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    @classmethod
    def fit(cls, X: Any, *, draws: bool = True, shrinkage: float = 0.0) -> "GaussianConditional":
        """Mean and covariance of examples.

        Args:
            X: Examples along the leading axis, each of any shape.
            draws: Whether to draw, or to fill in the conditional mean.
            shrinkage: In [0, 1]: how far correlations are drawn towards none, for examples with about as
                many features as there are examples, or more. At least as much is taken as the factorisation
                of exactly dependent features needs in single precision.
        """
        if not 0 <= shrinkage <= 1:
            raise ArgumentError(f"shrinkage must lie in [0, 1], got {shrinkage}")
        examples = training_examples(X)
        flat = examples.reshape(len(examples), -1).astype(np.float64)
        mean, std = flat.mean(0), flat.std(0)
        std = np.where(std > 0, std, 1.0)
        z = (flat - mean) / std
        correlation = z.T @ z / len(z)
        np.fill_diagonal(correlation, 1.0)
        shrinkage = max(shrinkage, _needed_shrinkage(correlation))
        correlation = (1 - shrinkage) * correlation + shrinkage * np.eye(len(correlation))
        factor = np.linalg.cholesky(correlation)
        mean, std, correlation, factor = (
            jnp.asarray(part, float) for part in (mean, std, correlation, factor)
        )
        return cls(mean, std, correlation, factor, Seen.of(examples), draws, float(shrinkage))

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples unlike those that it was fitted to."""
        self.seen.check(x)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`."""
        kept = mask.reshape(-1)
        z = (hide(x, mask).reshape(-1) - self.mean) / self.std
        if not self.draws:
            filled = repeat(self._given(jnp.where(kept, z, 0)[None], kept)[0], n_samples)
        else:
            whole = jax.random.normal(key, (n_samples, z.size), z.dtype) @ self.factor.T
            filled = whole + self._given(jnp.where(kept, z - whole, 0), kept)
        return keep(x, mask, (self.mean + self.std * filled).reshape(n_samples, *x.shape))

    def _given(
        self, z: Float[Array, "draw feature"], kept: Shaped[Array, "feature"]
    ) -> Float[Array, "draw feature"]:
        """Conditional means of all features, given the kept ones; z is 0 at the others."""
        both = kept[:, None] & kept
        own = jnp.where(both, self.correlation, jnp.diag(jnp.where(kept, 0.0, 1.0)))
        weights = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(own), True), z.T)
        return (self.correlation @ weights).T


def _needed_shrinkage(correlation: Float[np.ndarray, "feature feature"]) -> float:
    """The least that leaves every principal minor well enough conditioned; they interlace with the whole."""
    values = np.linalg.eigvalsh(correlation)
    floor = max(FLOOR, ROUNDING * values[-1])
    return float(max(0.0, (floor - values[0]) / (1 - values[0]))) if values[0] < floor else 0.0
