"""`inference_gaps`: everything about how good inference is, in one call."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, check_integer, check_key
from backthrough.latent.gaps.annealing import Annealing
from backthrough.latent.gaps.examples import (
    Example,
    Inference,
    check_not_nan,
    log_weights,
    over_examples,
    prepare,
)
from backthrough.latent.gaps.likelihood import (
    LogLikelihood,
    annealed_log_p,
    flag,
    importance_log_p,
    join,
    prepare_chains,
    with_rounding,
)
from backthrough.latent.gaps.optimise import Optimisation, optimise_posteriors
from backthrough.latent.gaps.pareto import FINITE_VARIANCE, LARGEST_SHAPE
from backthrough.latent.gaps.report import GapReport
from backthrough.latent.protocols import Data, Encoder, LatentModel

MOST_ERRORS_APART = 4.0  # eight chains have wide tails: 3 would be too few


def inference_gaps(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    family: Encoder | PyTree | None = None,
    n_samples: int = 5000,
    optimisation: Optimisation | None = None,
    annealing: Annealing | None = None,
    data: str = "",
    at_once: int = 100,
    keep: Path | str | None = None,
) -> GapReport:
    """How far the ELBO is below log p(x) on each example, and whether the encoder or the family is to blame.

    L[q] is the ELBO of the encoder's posterior; L[q*] that of the best posterior of the family, optimised for
    each example from the encoder's on; log p(x) is estimated twice, by importance sampling from q* and by
    annealing from the encoder's q (Cremer, Li and Duvenaud 2018).

    Args:
        model: p(x, z) for one example, differentiable in z.
        encoder: Maps one example to q(z | x).
        x: Examples along the leading axis: an array, or a pytree of arrays.
        key: Typed key; the result does not depend on `at_once`.
        family: Where the search for q* starts, if that is not the encoder: another encoder, or posteriors. So
            the best factorised Gaussian is found for a model that was trained with a flow; there may be no
            amortization gap then, and a negative one is not flagged.
        n_samples: Draws of each ELBO, and weights of the importance sampling; at least 2.
        optimisation: Of q*; `Optimisation()` by default.
        annealing: `Annealing()` by default, which needs a `log_prob` of the encoder's posterior.
        data: What the examples are and how they were binarised; the report shows it beside the figures.
        at_once: Examples at once; memory grows with it.
        keep: A folder for finished chunks, from which a stopped call goes on.

    Returns:
        A `GapReport`, whose `flags` name the examples that should not be trusted.

    Raises:
        ArgumentError: for a wrong argument, a network in training mode, or a q without an exact `log_prob`.
        DataError: if data are not finite or have no likelihood, or log p(x, z) is NaN.
    """
    n_samples = check_integer("n_samples", n_samples, minimum=2)
    annealing = Annealing() if annealing is None else annealing
    check_key(key)
    prepare_chains(model, encoder, x, key, annealing)  # refuses before the first minute, not after it
    start_key, best_key, elbo_key, weights_key, chains_key = jax.random.split(key, 5)
    options = {"at_once": at_once, "keep": keep}
    start = encoder if family is None else family
    found = optimise_posteriors(model, start, x, key=start_key, optimisation=optimisation, **options)
    best = found.posteriors
    elbo = _elbo(model, encoder, x, n_samples, key=elbo_key, **options)
    best_elbo = _elbo(model, best, x, n_samples, key=best_key, **options)
    importance = importance_log_p(model, best, x, key=weights_key, n_samples=n_samples, **options)
    annealed = annealed_log_p(model, encoder, x, key=chains_key, annealing=annealing, **options)
    log_p, error, is_apart = _combine(importance, annealed)
    gap_error = np.hypot(best_elbo["error"], elbo["error"])
    is_worse = best_elbo["value"] - elbo["value"] < -3 * gap_error
    is_lost = ~(found.path[:, 1:] >= found.path[:, :1]).any(1)
    is_above = best_elbo["value"] - log_p > 3 * np.hypot(error, best_elbo["error"])
    flags = join(
        annealed.flags,
        flag("the estimates of log p(x) disagree", is_apart),
        flag("q* was not found", (is_worse & (family is None)) | is_lost),
        flag("log p(x) is below L[q*]", is_above),
    )
    return GapReport(
        elbo["value"],
        elbo["error"],
        best_elbo["value"],
        best_elbo["error"],
        importance,
        annealed,
        log_p,
        error,
        flags,
        data,
        n_samples,
    )


def _combine(
    a: LogLikelihood, b: LogLikelihood
) -> tuple[Float[np.ndarray, "example"], Float[np.ndarray, "example"], np.ndarray]:
    """One estimate of two, by importance sampling and by annealing; its error; and where they disagree."""
    share = 1 / (1 + np.exp(np.clip(b.log_p - a.log_p, -700, 700)))  # of a in the sum
    both = np.logaddexp(a.log_p, b.log_p) - np.log(2)
    error = np.hypot(share * a.error, (1 - share) * b.error)
    is_apart = ~(np.abs(a.log_p - b.log_p) <= MOST_ERRORS_APART * np.hypot(a.error, b.error))
    is_larger = a.log_p > b.log_p
    larger, of_larger = np.where(is_larger, a.log_p, b.log_p), np.where(is_larger, a.error, b.error)
    shape = np.asarray(a.pareto_k, float)
    cases = [is_apart, shape > LARGEST_SHAPE, shape < FINITE_VARIANCE]
    log_p = np.select(cases, [larger, b.log_p, a.log_p], both)
    return log_p, np.select(cases, [of_larger, b.error, a.error], error), is_apart


def _elbo(
    model: LatentModel,
    q: Encoder | PyTree,
    x: Data,
    n_samples: int,
    *,
    key: PRNGKey,
    at_once: int,
    keep: Path | str | None,
) -> dict[str, np.ndarray]:
    """The ELBO of each example and its standard error."""
    inference, examples = prepare(model, q, x, key)
    options = {"label": "ELBO", "at_once": at_once, "keep": keep}
    found = over_examples(_mean_log_weight, model, inference, n_samples, examples, **options)
    values = found["first"].astype(np.float64) + found["rest"]
    check_not_nan(~np.isfinite(values))
    return {"value": values, "error": with_rounding(found["error"], values)}


def _mean_log_weight(
    model: LatentModel, inference: Inference, n_samples: int, example: Example
) -> dict[str, Array]:
    values = log_weights(model, inference.posterior(example), example, n_samples)
    rest = values - values[0]  # sums of large numbers of one sign would lose their digits
    return {"first": values[0], "rest": rest.mean(), "error": rest.std(ddof=1) / jnp.sqrt(n_samples)}
