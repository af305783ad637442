"""The one distribution behind every family: independent normals, in a rotated frame of a matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar


class RotatedNormal(eqx.Module):
    """W = mean + left Z right^T, where the entries of Z are independent normals around 0.

    With both rotations the eigenvectors of Kronecker factors this is the matrix-variate Gaussian of noisy
    K-FAC (Zhang et al. 2018, eq. 9); with neither it is factorised, as in noisy Adam; of one row, with
    `right` alone, it is any Gaussian.

    Attributes:
        mean: Of any shape; a matrix where there is a rotation.
        variance: Of the entries of Z, of the same shape.
        left: Orthogonal (row, row), or None for the identity.
        right: Orthogonal (column, column), or None.
    """

    mean: Float[Array, "..."]
    variance: Float[Array, "..."]
    left: Float[Array, "row row"] | None = None
    right: Float[Array, "column column"] | None = None

    def sample(self, *, key: PRNGKey) -> Float[Array, "..."]:
        """A draw."""
        z = jnp.sqrt(self.variance) * jax.random.normal(key, self.mean.shape, self.variance.dtype)
        return self.mean + rotate(z, self.left, self.right)

    def log_prob(self, value: Float[Array, "..."]) -> Scalar:
        """The log-density of a matrix, nats."""
        z = rotate_back(value - self.mean, self.left, self.right)
        return -0.5 * jnp.sum(jnp.square(z) / self.variance + jnp.log(2 * jnp.pi * self.variance))

    def kl(self, prior_var: Scalar | float) -> Scalar:
        """KL divergence from independent normals of mean 0 and variance `prior_var`, nats."""
        ratio = self.variance / prior_var
        return 0.5 * jnp.sum(ratio - jnp.log(ratio) - 1 + jnp.square(self.mean) / prior_var)

    def marginal_variance(self) -> Float[Array, "..."]:
        """The variance of every entry."""
        squares = [None if own is None else jnp.square(own) for own in (self.left, self.right)]
        return rotate(self.variance, *squares)

    def precision(self) -> Float[Array, "size size"]:
        """The inverse covariance, dense, entries in row-major order: memory grows with the size squared."""
        rows, columns = jnp.atleast_2d(self.mean).shape
        if self.left is None and self.right is None:
            return jnp.diag(1 / self.variance.reshape(-1))
        left = jnp.eye(rows, dtype=self.variance.dtype) if self.left is None else self.left
        right = jnp.eye(columns, dtype=self.variance.dtype) if self.right is None else self.right
        frame = jnp.kron(left, right)
        return (frame / self.variance.reshape(-1)) @ frame.T


def rotate(z: Array, left: Array | None, right: Array | None) -> Array:
    """left z right^T: from the frame of the rotations to that of the weights."""
    z = z if left is None else left @ z
    return z if right is None else z @ right.T


def rotate_back(w: Array, left: Array | None, right: Array | None) -> Array:
    """left^T w right: from the frame of the weights to that of the rotations."""
    w = w if left is None else left.T @ w
    return w if right is None else w @ right
