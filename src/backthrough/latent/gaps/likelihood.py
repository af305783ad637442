"""Estimates of log p(x) of each example, with their errors."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, check_integer
from backthrough.latent.bounds import check_exact_density
from backthrough.latent.gaps.annealing import Annealing, forward_chains
from backthrough.latent.gaps.examples import (
    Example,
    Inference,
    check_density,
    check_not_nan,
    first_posterior,
    log_weights,
    over_examples,
    prepare,
)
from backthrough.latent.gaps.pareto import LARGEST_SHAPE, pareto_shape, tail_size
from backthrough.latent.protocols import Data, Encoder, LatentModel

LEAST_ESS = 1.5
ROUNDINGS = 8  # of a log-density, in an estimate


@dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x), one for each example.

    The mean of the weights is p(x) without bias, so that its logarithm is too small on average: by about
    error**2 / 2. Where q misses a part of the posterior, or has lighter tails, both the estimate and its
    error are too small, which no single estimate shows: compare two that work differently.

    Attributes:
        log_p: In nats.
        error: Standard error of each estimate, by the spread of its weights; a hint where `ess` is small.
        ess: Effective sample size, (sum w)^2 / sum w^2: from 1 to the number of weights.
        flags: What is wrong with an example's estimate; "" where nothing is.
        method: In words.
        acceptance: Of the Hamiltonian proposals; None where there were none.
        pareto_k: How heavy the tail of the weights is (see `pareto.pareto_shape`): above 0.7 neither estimate
            nor error can be trusted. None for a few chains, which cannot tell; NaN for fewer than 25 weights.
    """

    log_p: Float[np.ndarray, "example"]
    error: Float[np.ndarray, "example"]
    ess: Float[np.ndarray, "example"]
    flags: tuple[str, ...]
    method: str
    acceptance: Float[np.ndarray, "example"] | None = None
    pareto_k: Float[np.ndarray, "example"] | None = None

    def table(self) -> pd.DataFrame:
        """One row an example."""
        columns = {"log p(x)": self.log_p, "error": self.error, "ESS": self.ess}
        if self.acceptance is not None:
            columns["acceptance"] = self.acceptance
        rows = pd.DataFrame(columns, index=pd.RangeIndex(len(self.log_p), name="example"))
        if self.pareto_k is not None:
            rows["Pareto k"] = self.pareto_k
        return rows.assign(flag=self.flags)

    def __str__(self) -> str:
        """The mean over examples, with its standard error."""
        n = len(self.log_p)
        error = f" ± {self.log_p.std(ddof=1) / np.sqrt(n):.3f}" if n > 1 else ""
        return f"log p(x) = {self.log_p.mean():.3f}{error} nats, mean of {n:,} examples by {self.method}"


def importance_log_p(
    model: LatentModel,
    q: Encoder | PyTree,
    x: Data,
    *,
    key: PRNGKey,
    n_samples: int = 5000,
    at_once: int = 100,
    keep: Path | str | None = None,
) -> LogLikelihood:
    """log p(x) by importance sampling: the logarithm of the mean of `n_samples` weights of draws of q.

    Args:
        model: p(x, z) for one example.
        q: An encoder, or posteriors such as those of `optimise_posteriors`.
        x: Examples along the leading axis.
        key: Typed key; the result does not depend on `at_once`.
        n_samples: Weights an example, at least 2.
        at_once: Examples at once; memory grows with it.
        keep: A folder for finished chunks, from which a stopped call goes on.

    Raises:
        ArgumentError: for a wrong argument, a network in training mode, or a density of q with noise.
        DataError: if data are not finite or have no likelihood, or a weight is NaN.
    """
    n_samples = check_integer("n_samples", n_samples, minimum=2)
    inference, examples = prepare(model, q, x, key)
    check_exact_density("importance_log_p", first_posterior(inference, examples))
    options = {"label": "importance sampling", "at_once": at_once, "keep": keep}
    found = over_examples(_weigh, model, inference, n_samples, examples, **options)
    return _summarise(found, f"importance sampling with {n_samples:,} draws of q")


def annealed_log_p(
    model: LatentModel,
    q: Encoder | PyTree | None,
    x: Data,
    *,
    key: PRNGKey,
    annealing: Annealing | None = None,
    at_once: int = 100,
    keep: Path | str | None = None,
) -> LogLikelihood:
    """log p(x) by annealed importance sampling: draws of q are moved towards the posterior (Neal 2001).

    Args:
        model: p(x, z) for one example, differentiable in z.
        q: An encoder, or posteriors such as those of `optimise_posteriors`, with a `log_prob`; not used with
            `Annealing(start="prior")`, and may be None then.
        x: Examples along the leading axis.
        key: Typed key; the result does not depend on `at_once`.
        annealing: `Annealing()` by default.
        at_once: Examples at once; memory grows with it, times chains.
        keep: A folder for finished chunks, from which a stopped call goes on.

    Raises:
        ArgumentError: for a wrong argument, a network in training mode, or a q without an exact `log_prob`.
        DataError: if data are not finite or have no likelihood, or a weight is NaN.
    """
    annealing = Annealing() if annealing is None else annealing
    inference, examples = prepare_chains(model, q, x, key, annealing)
    options = {"label": "annealing", "at_once": at_once, "keep": keep}
    found = over_examples(_anneal, model, inference, annealing, examples, **options)
    return _summarise(found, f"annealed importance sampling ({annealing})")


def prepare_chains(
    model: LatentModel, q: Encoder | PyTree | None, x: Data, key: PRNGKey, annealing: Annealing
) -> tuple[Inference, Example]:
    """`prepare`, and what chains ask of q."""
    q = None if annealing.start == "prior" else q
    inference, examples = prepare(model, q, x, key)
    cure = 'pass annealing=Annealing(start="prior")'
    if annealing.start == "posterior":
        if q is None:
            raise ArgumentError(f"chains that start from the posterior need q: {cure}")
        check_density("annealing from q", first_posterior(inference, examples), cure)
    return inference, examples


def estimate(log_weights: Float[Array, "weight"]) -> dict[str, Array]:
    """The logarithm of the mean of weights, its standard error, and their effective number."""
    n = log_weights.size
    total = jax.nn.logsumexp(log_weights)
    is_zero = jnp.isneginf(total)
    shares = jnp.exp(log_weights - jnp.where(is_zero, 0, total))
    ess = jnp.where(is_zero, 0, 1 / jnp.sum(jnp.square(shares)))
    relative_variance = jnp.maximum(0, n / ess - 1)  # infinite where all weights are zero
    error = jnp.sqrt(relative_variance / (n - 1)) if n > 1 else jnp.full((), jnp.inf)
    return {"log_p": total - jnp.log(n), "error": error, "ess": ess}


def _weigh(model: LatentModel, inference: Inference, n_samples: int, example: Example) -> dict[str, Array]:
    found = log_weights(model, inference.posterior(example), example, n_samples)
    is_nan = (jnp.isnan(found) | jnp.isposinf(found)).any()
    tail, _ = jax.lax.top_k(found, tail_size(n_samples) + 1)
    return {**estimate(found), "is_nan": is_nan, "tail": tail}


def _anneal(
    model: LatentModel, inference: Inference, annealing: Annealing, example: Example
) -> dict[str, Array]:
    chains = forward_chains(model, inference.posterior(example), example.x, annealing, key=example.key)
    return {
        **estimate(chains.log_weights),
        "acceptance": chains.acceptance,
        "at_limit": chains.at_limit,
        "is_nan": chains.is_nan,
    }


def _summarise(found: dict[str, np.ndarray], method: str) -> LogLikelihood:
    check_not_nan(found["is_nan"])
    flags = flag("one weight is nearly all", found["ess"] < LEAST_ESS)
    pareto_k = None
    if "at_limit" in found:
        flags = join(flags, flag("step size at its lower limit", found["at_limit"]))
    else:
        pareto_k = np.array([pareto_shape(tail) for tail in found["tail"]])
        flags = join(flags, flag("heavy tail of weights", pareto_k > LARGEST_SHAPE))
    log_p = found["log_p"].astype(np.float64)
    numbers = (log_p, with_rounding(found["error"], log_p), found["ess"])
    return LogLikelihood(*numbers, flags, method, found.get("acceptance"), pareto_k)


def with_rounding(
    error: Float[np.ndarray, "example"], log_p: Float[np.ndarray, "example"]
) -> Float[np.ndarray, "example"]:
    """Errors with what log-densities of this size lose to single precision, in which they were computed."""
    rounding = ROUNDINGS * np.finfo(error.dtype).eps * np.abs(np.where(np.isfinite(log_p), log_p, 0))
    return np.hypot(error.astype(np.float64), rounding)


def flag(text: str, where: np.ndarray) -> tuple[str, ...]:
    """The text where it is true of an example, "" elsewhere."""
    return tuple(text if own else "" for own in where)


def join(*flags: tuple[str, ...]) -> tuple[str, ...]:
    """All that is said of each example."""
    return tuple("; ".join(filter(None, own)) for own in zip(*flags, strict=True))
