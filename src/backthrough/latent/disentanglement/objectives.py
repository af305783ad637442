"""What is maximised to disentangle: beta-VAE, beta-TCVAE and FactorVAE.

They couple the examples of a batch, so that they are functions of a batch, beside `bound`.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice, check_key
from backthrough.latent.bounds import check_latent, check_scalars
from backthrough.latent.disentanglement.aggregate import ESTIMATORS, BatchEstimator, log_aggregate
from backthrough.latent.gaussian import FactorisedGaussian, standard_normal_log_prob
from backthrough.latent.protocols import Data, Encoder, LatentModel
from backthrough.train import n_examples

Weight = float | Scalar


class TCTerms(NamedTuple):
    """An objective of a batch, and its parts: each one number an example, in nats.

    Attributes:
        values: What to maximise the mean of.
        log_likelihood: log p(x | z) at one draw.
        kl: KL(q(z | x) || p(z)) in closed form if p(z) is N(0, I), so that the ELBO is `log_likelihood - kl`.
        index_code_mi: log q(z | x) - log q(z), by the estimator that trains: not for reports.
        total_correlation: log q(z) - sum of log q(z_j), likewise.
        dimension_wise_kl: sum of log q(z_j) - log p(z), likewise.
    """

    values: Float[Array, " batch"]
    log_likelihood: Float[Array, " batch"]
    kl: Float[Array, " batch"]
    index_code_mi: Float[Array, " batch"]
    total_correlation: Float[Array, " batch"]
    dimension_wise_kl: Float[Array, " batch"]


class FactorVAETerms(NamedTuple):
    """FactorVAE's two objectives of a batch, whose sum can be differentiated at once.

    Attributes:
        values: What to maximise the mean of; without gradients for the discriminator.
        log_likelihood: log p(x | z) at one draw, shape (batch,).
        kl: KL(q(z | x) || p(z)), in closed form, shape (batch,).
        total_correlation: The discriminator's log-odds at z, shape (batch,).
        discriminator_loss: One number, to be minimised; without gradients for model and encoder.
    """

    values: Float[Array, " batch"]
    log_likelihood: Float[Array, " batch"]
    kl: Float[Array, " batch"]
    total_correlation: Float[Array, " batch"]
    discriminator_loss: Scalar


def beta_vae(
    model: LatentModel, encoder: Encoder, x: Data, *, key: PRNGKey, beta: Weight
) -> Float[Array, " batch"]:
    """log p(x | z) - beta KL(q(z | x) || p(z)) of each example (Higgins et al. 2017, eq. 4).

    `bound` with `ELBO(kl_weight=beta)` has the same mean; the KL is in closed form here.

    Args:
        model: p(x, z) for one example; with the prior N(0, I) the KL is in closed form.
        encoder: Maps one example to a `FactorisedGaussian`.
        x: Examples along the leading axis.
        key: Typed key for one draw of each posterior.
        beta: Not negative; may be an array that changes while training.

    Raises:
        ArgumentError: for a wrong argument or another kind of posterior.
    """
    _check_weight("beta", beta)
    _, _, _, log_likelihood, kl = _draw(model, encoder, x, key)
    return log_likelihood - beta * kl


def beta_tcvae(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    beta: Weight,
    alpha: Weight = 1.0,
    gamma: Weight = 1.0,
    estimator: BatchEstimator = "in-batch",
    n_data: int | None = None,
) -> TCTerms:
    """log p(x | z) - alpha MI - beta TC - gamma DW (Chen et al. 2018, eq. 4), the KL's parts weighed apart.

    With alpha = gamma = 1 it is log p(x | z) - KL - (beta - 1) TC, with the KL in closed form, which has less
    noise. So it is where both are numbers; as arrays, which may change, they keep the KL at the draw, of the
    same mean, also when they are 1. "mws", the paper's estimator, has the gradient of "in-batch" for all
    weights, and values that differ by constants.

    Args:
        model: p(x, z) for one example; with the prior N(0, I) the KL is in closed form.
        encoder: Maps one example to a `FactorisedGaussian`.
        x: Examples along the leading axis, drawn from the data without replacement.
        key: Typed key for one draw of each posterior.
        beta: Of the total correlation, not negative. Weights may be arrays that change while training.
        alpha: Of the index-code mutual information; below zero it is asked for.
        gamma: Of the dimension-wise KL, not negative.
        estimator: Of log q(z); see `log_aggregate`.
        n_data: Examples in the whole data set, where the estimator needs it.

    Raises:
        ArgumentError: for a wrong argument, another kind of posterior, or a batch of one.
    """
    for name, weight in {"beta": beta, "gamma": gamma}.items():
        _check_weight(name, weight)
    check_choice("estimator", estimator, [name for name in ESTIMATORS if name != "full"])
    z, log_q, posteriors, log_likelihood, kl = _draw(model, encoder, x, key)
    if len(z) < 2:
        raise ArgumentError("the total correlation of a batch needs at least 2 examples, got 1")
    joint, marginals = log_aggregate(z, posteriors, estimator=estimator, n_data=n_data)
    mi, tc = log_q - joint, joint - marginals.sum(1)
    dw = marginals.sum(1) - jax.vmap(model.log_prior)(z)
    if not isinstance(alpha, jax.Array) and not isinstance(gamma, jax.Array) and alpha == gamma == 1:
        values = log_likelihood - kl - (beta - 1) * tc
    else:
        values = log_likelihood - alpha * mi - beta * tc - gamma * dw
    return TCTerms(values, log_likelihood, kl, mi, tc, dw)


def factor_vae(
    model: LatentModel,
    encoder: Encoder,
    discriminator: Callable[[Float[Array, " latent"]], Scalar],
    x: Data,
    *,
    key: PRNGKey,
    gamma: Weight,
) -> FactorVAETerms:
    """The ELBO less gamma times a total correlation that a discriminator has learned (Kim and Mnih 2018).

    The discriminator tells draws of q(z) from draws whose coordinates were shuffled among examples; its
    log-odds are log q(z) - sum of log q(z_j) where it is perfect. It learns from one half of the batch as it
    is, and the other half shuffled. Minimise `discriminator_loss - values.mean()` in all three at once, or
    each part with an optimiser of its own.

    Args:
        model: p(x, z) for one example; with the prior N(0, I) the KL is in closed form.
        encoder: Maps one example to a `FactorisedGaussian`.
        discriminator: Maps one z to the log-odds that it is a draw of q(z), one number; an Equinox module.
        x: At least 4 examples along the leading axis.
        key: Typed key.
        gamma: Of the total correlation, not negative.

    Raises:
        ArgumentError: for a wrong argument, another kind of posterior, or fewer examples.
    """
    _check_weight("gamma", gamma)
    if not callable(discriminator):
        raise ArgumentError(
            "discriminator must map one z to the log-odds that q(z) drew it, got "
            f"{type(discriminator).__name__}"
        )
    key, shuffle_key = jax.random.split(key)
    z, _, _, log_likelihood, kl = _draw(model, encoder, x, key)
    n = len(z)
    if n < 4:
        raise ArgumentError(f"factor_vae needs at least 4 examples in a batch, got {n}")
    arrays, rest = eqx.partition(discriminator, eqx.is_inexact_array)
    held = jax.vmap(eqx.combine(jax.lax.stop_gradient(arrays), rest))
    log_odds = held(z)
    if log_odds.shape != (n,):
        raise ArgumentError(
            f"the discriminator must return one number for one z, got shape {log_odds.shape[1:]}"
        )
    fixed = jax.lax.stop_gradient(z)
    keys = jax.random.split(shuffle_key, z.shape[1])
    shuffled = jax.vmap(jax.random.permutation, (0, 1), 1)(keys, fixed[n // 2 :])
    as_drawn = jax.nn.softplus(-jax.vmap(discriminator)(fixed[: n // 2])).mean()
    as_shuffled = jax.nn.softplus(jax.vmap(discriminator)(shuffled)).mean()
    values = log_likelihood - kl - gamma * log_odds
    return FactorVAETerms(values, log_likelihood, kl, log_odds, 0.5 * (as_drawn + as_shuffled))


def _draw(
    model: LatentModel, encoder: Encoder, x: Data, key: PRNGKey
) -> tuple[Array, Array, FactorisedGaussian, Array, Array]:
    """One draw of each posterior, its log-density there, the posteriors, log p(x | z) and the KL."""
    check_key(key)
    x = jax.tree_util.tree_map(jnp.asarray, x)
    n = n_examples("x", x)

    def one(x: Data, key: PRNGKey) -> tuple[Array, Array, FactorisedGaussian, Array, Array]:
        posterior = encoder(x)
        if not isinstance(posterior, FactorisedGaussian):
            raise ArgumentError(
                "a total correlation needs posteriors whose coordinates are independent, FactorisedGaussian, "
                f"and the encoder returns {type(posterior).__name__}"
            )
        z, log_q = posterior.sample_and_log_prob(key=key)
        check_latent(model, z)
        log_likelihood = model.log_likelihood(x, z)
        log_prior = model.log_prior(z)
        check_scalars(model, None, log_likelihood=log_likelihood, log_prior=log_prior)
        # The closed form is of N(0, I); what another prior differs from it by is taken at the draw.
        kl = posterior.kl_from_standard_normal().sum() + standard_normal_log_prob(z) - log_prior
        return z, log_q, posterior, log_likelihood, kl

    return jax.vmap(one)(x, jax.random.split(key, n))


def _check_weight(name: str, weight: Weight) -> None:
    """Refuses what is negative or not finite, where it is known."""
    if not isinstance(weight, int | float) and getattr(weight, "shape", None) != ():
        raise ArgumentError(f"{name} must be one number, got {weight!r}")
    if not isinstance(weight, Tracer) and not 0 <= float(weight) < float("inf"):
        raise ArgumentError(f"{name} must be finite and not negative, got {weight}")
