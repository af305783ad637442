"""The three parts of a data set's mean KL, from the mixture of all posteriors."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import PRNGKey, check_integer, check_key
from backthrough.latent.disentanglement.aggregate import log_density
from backthrough.latent.disentanglement.codes import Codes, check_codes
from backthrough.latent.gaussian import HALF_LOG_2PI
from backthrough.train import Number, ProgressBar

DRAWS_AT_ONCE = 128
EXAMPLES_AT_ONCE = 2048
PARTS = ("index-code mutual information", "total correlation", "dimension-wise KL")


@dataclass(frozen=True)
class Decomposition:
    """The parts that E_n KL(q(z | n) || p(z)) is the sum of (Chen et al. 2018, eq. 2).

    All in nats, of the data set that was encoded: a part of it has a smaller mutual information, which is at
    most ln(n). Errors are standard errors, by the spread of draws.

    Attributes:
        index_code_mi: KL(q(z, n) || q(z) p(n)).
        index_code_mi_error: Its error.
        total_correlation: KL(q(z) || product of q(z_j)).
        total_correlation_error: Its error.
        dimension_wise_kl: Sum of `of_latents`.
        dimension_wise_kl_error: Its error.
        of_latents: KL(q(z_j) || N(0, 1)) of each latent.
        of_latents_error: Its error.
        kl: The mean KL itself, in closed form, without an error.
        n: Examples.
        n_samples: Draws.
    """

    index_code_mi: float
    index_code_mi_error: float
    total_correlation: float
    total_correlation_error: float
    dimension_wise_kl: float
    dimension_wise_kl_error: float
    of_latents: Float[np.ndarray, " latent"]
    of_latents_error: Float[np.ndarray, " latent"]
    kl: float
    n: int
    n_samples: int

    def table(self) -> pd.DataFrame:
        """A row for each part, and one for the mean KL."""
        nats = [self.index_code_mi, self.total_correlation, self.dimension_wise_kl, self.kl]
        errors = [self.index_code_mi_error, self.total_correlation_error, self.dimension_wise_kl_error, 0.0]
        return pd.DataFrame(
            {"nats": nats, "standard error": errors}, index=[*PARTS, "mean KL, in closed form"]
        )

    def numbers(self) -> list[Number]:
        """The same for a run's result."""
        how = f"mixture of all {self.n:,} posteriors at {self.n_samples:,} draws"
        return [
            Number(str(name), nats, "nats", how if error else "in closed form", error or None)
            for name, nats, error in self.table().itertuples()
        ]

    def plot(self, axes: Axes) -> Axes:
        """Three bars with standard errors."""
        rows = self.table().loc[list(PARTS)]
        axes.bar(PARTS, rows["nats"], yerr=rows["standard error"], color=("C0", "C3", "0.55"), capsize=4)
        axes.set(ylabel="nats", title=f"mean KL of {self.n:,} posteriors: {self.kl:.2f} nats")
        return axes

    def __str__(self) -> str:
        """The table, and what it is of."""
        rows = self.table().round(4).to_string()
        return f"{rows}\n{self.n:,} posteriors, {self.n_samples:,} draws of their mixture"


def tc_decomposition(codes: Codes, *, key: PRNGKey, n_samples: int = 2000) -> Decomposition:
    """The parts of the mean KL to N(0, I): how much codes tell, and how independent they are.

    q(z) is the mixture of all posteriors, so that there is no bias but that of the data being finite. Time is
    `n_samples` times examples times latents: about 2e8 of these a second and core.

    Args:
        codes: Posteriors of the data set.
        key: Typed key for the draws.
        n_samples: Draws of (n, z), at least 2.

    Raises:
        ArgumentError: for a wrong argument.

    Example:
        >>> import jax, numpy as np
        >>> codes = Codes(np.zeros((4, 2)), np.ones((4, 2)))  # q(z | n) is the prior
        >>> tc_decomposition(codes, key=jax.random.key(0), n_samples=10).kl
        0.0
    """
    check_codes("tc_decomposition", codes)
    check_key(key)
    n_samples = check_integer("n_samples", n_samples, minimum=2)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    chosen = rng.choice(codes.n, n_samples, p=codes.weights)
    noise = rng.standard_normal((n_samples, codes.latent_size))
    own, scales = codes.means[chosen], codes.scales[chosen]
    z = own + scales * noise
    conditional = (-0.5 * noise**2 - np.log(scales) - HALF_LOG_2PI).sum(1)
    joint, marginals = _at_draws(codes, own, scales * noise)
    prior = -0.5 * z**2 - HALF_LOG_2PI
    parts = np.c_[conditional - joint, joint - marginals.sum(1), (marginals - prior).sum(1)]
    of_latents = marginals - prior
    means, errors = parts.mean(0), parts.std(0, ddof=1) / np.sqrt(n_samples)
    kl = 0.5 * (codes.scales**2 + codes.means**2 - 1) - np.log(codes.scales)
    (mi, tc, dw), (mi_error, tc_error, dw_error) = means.tolist(), errors.tolist()
    return Decomposition(
        mi,
        mi_error,
        tc,
        tc_error,
        dw,
        dw_error,
        of_latents.mean(0),
        of_latents.std(0, ddof=1) / np.sqrt(n_samples),
        float(codes.weights @ kl.sum(1)),
        codes.n,
        n_samples,
    )


def _at_draws(codes: Codes, own: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log q(z) and log q(z_j) at z = own + offset.

    Single precision would lose what a narrow posterior adds to its mean, so that differences of means are
    taken first: own - mean is exact where it matters.
    """
    used = np.flatnonzero(codes.weights)
    centre = codes.weights @ codes.means
    unit = np.maximum(
        np.abs(codes.means - centre).max(0), codes.scales.max(0)
    )  # for single precision's range
    n_chunks = -(-len(used) // EXAMPLES_AT_ONCE)
    size = -(-len(used) // n_chunks)
    missing = n_chunks * size - len(used)

    def chunked(values: np.ndarray, fill: float) -> Array:
        padded = np.concatenate([values, np.full((missing, *values.shape[1:]), fill)])
        return jnp.asarray(padded.reshape(n_chunks, size, *values.shape[1:]), jnp.result_type(float))

    mixture = (
        chunked((codes.means[used] - centre) / unit, 0.0),
        chunked(np.log(codes.scales[used] / unit), 0.0),
        chunked(np.log(codes.weights[used]), -np.inf),
    )
    joints, marginals = [], []
    n = len(own)
    with ProgressBar("q(z) at draws", n) as bar:
        for start in range(0, n, DRAWS_AT_ONCE):
            rows = np.minimum(
                np.arange(start, start + DRAWS_AT_ONCE), n - 1
            )  # one program serves the rest too
            drawn = (jnp.asarray((own[rows] - centre) / unit), jnp.asarray(offset[rows] / unit))
            joint, marginal = _mixture(*drawn, mixture)
            rest = min(DRAWS_AT_ONCE, n - start)
            joints.append(np.asarray(joint, np.float64)[:rest])
            marginals.append(np.asarray(marginal, np.float64)[:rest])
            bar.update(start + rest)
    return np.concatenate(joints) - np.log(unit).sum(), np.concatenate(marginals) - np.log(unit)


@jax.jit
def _mixture(own: Array, offset: Array, mixture: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """The logarithms of the mixture's densities, examples a chunk at a time."""

    def add(
        carry: tuple[Array, Array], chunk: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        means, log_scales, log_weights = chunk

        def of_latent(joint: Array, rows: tuple[Array, ...]) -> tuple[Array, Array]:
            own, offset, mean, log_scale = rows
            log_q = log_density((own[:, None] - mean) + offset[:, None], log_scale)
            return joint + log_q, jax.nn.logsumexp(log_weights + log_q, axis=1)

        rows = (own.T, offset.T, means.T, log_scales.T)
        joint, marginals = jax.lax.scan(of_latent, jnp.zeros((len(own), len(means)), own.dtype), rows)
        found = (jax.nn.logsumexp(log_weights + joint, axis=1), marginals.T)
        return jax.tree_util.tree_map(jnp.logaddexp, carry, found), None

    nothing = (jnp.full(len(own), -jnp.inf, own.dtype), jnp.full(own.shape, -jnp.inf, own.dtype))
    return jax.lax.scan(add, nothing, mixture)[0]
