"""Lower bounds on log p(x), and their gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import (
    ArgumentError,
    PRNGKey,
    Scalar,
    check_choice,
    check_integer,
    check_key,
    log_mean_exp,
)
from backthrough.flows import has_estimated_log_det
from backthrough.latent.protocols import Data, Encoder, Latent, LatentModel, Posterior
from backthrough.train import n_examples

SAMPLES_AT_ONCE = 50  # keeps at most this many decoder outputs an example in memory
GRADIENTS = ("reparam", "stl", "dreg")

Gradient = Literal["reparam", "stl", "dreg"]


@dataclass(frozen=True)
class ELBO:
    """The mean log-weight, E_q[log p(x | z) + log p(z) - log q(z | x)] (Kingma and Welling 2014, eq. 2).

    Attributes:
        n_samples: Draws that are averaged over.
        kl_weight: Of log p(z) - log q(z | x): KL annealing raises it from 0 to 1, and starts without the
            prior (Bowman et al. 2016).
        entropy_weight: Of - log q(z | x): entropy annealing raises it from 0 to 1, and starts from the most
            probable z (Cremer et al. 2018, "warm-up").
    """

    n_samples: int = 1
    kl_weight: float | Scalar = 1.0
    entropy_weight: float | Scalar = 1.0


@dataclass(frozen=True)
class IWAE:
    """The log of the mean of k weights: its mean is L_k <= L_(k+1) <= log p(x) (Burda et al. 2015, eq. 8).

    Attributes:
        k: Draws that the weights are averaged over.
    """

    k: int


def log_weight(model: LatentModel, posterior: Posterior, x: Data, *, key: PRNGKey) -> Scalar:
    """log p(x, z) - log q(z | x) for one draw z of one example."""
    z, log_q = posterior.sample_and_log_prob(key=key)
    check_scalars(model, posterior, log_q=log_q)
    return log_joint(model, x, z) - log_q


def log_joint(model: LatentModel, x: Data, z: Latent) -> Scalar:
    """log p(x, z) of one example.

    Raises:
        ArgumentError: if a part of it is not one number: what is left to sum would be averaged somewhere.
    """
    prior, likelihood = model.log_prior(z), model.log_likelihood(x, z)
    check_scalars(model, None, log_prior=prior, log_likelihood=likelihood)
    return prior + likelihood


def check_scalars(model: LatentModel, posterior: Posterior | None, **values: Array) -> None:
    """Refuses log-densities of one example that are not one number each.

    Raises:
        ArgumentError: naming the method, and the shape that it returned.
    """
    for name, value in values.items():
        if jnp.shape(value) != ():
            owner = type(model if posterior is None else posterior).__name__
            raise ArgumentError(
                f"{name} of {owner} must be one number for one example, got shape {jnp.shape(value)}: sum "
                "over its entries"
            )


def elbo(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    n_samples: int = 1,
) -> Float[Array, "batch"]:
    """`bound` with `ELBO(n_samples)`: an unbiased estimate of E_q[log p(x, z) - log q(z | x)].

    Its gradient is the reparameterisation gradient.

    Args:
        model: p(x, z) for one example.
        encoder: Maps one example to q(z | x).
        x: Examples along the leading axis: an array, or a pytree of arrays such as `Observations`.
        key: Typed key.
        n_samples: Draws averaged over, at least 1.

    Returns:
        One value in nats for each example.

    Raises:
        ArgumentError: if `x` has no examples or `n_samples` is below 1.
    """
    n_samples = check_integer("n_samples", n_samples, minimum=1)
    return bound(model, encoder, x, key=key, objective=ELBO(n_samples))


def iwae(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    n_samples: int,
) -> Float[Array, "batch"]:
    """`bound` with `IWAE(n_samples)`: the log of the mean weight of each example.

    With many samples this is an estimate of log p(x), biased down by about var(w / p(x)) / (2 k). Its
    gradient is that of Burda et al. 2015, eq. 14. Memory grows with `n_samples` only when a gradient is
    taken.

    Args:
        model: p(x, z) for one example.
        encoder: Maps one example to q(z | x).
        x: Examples along the leading axis: an array, or a pytree of arrays such as `Observations`.
        key: Typed key.
        n_samples: Draws k that the weights are averaged over, at least 1.

    Returns:
        One value in nats for each example.

    Raises:
        ArgumentError: if `x` has no examples or `n_samples` is below 1.
    """
    n_samples = check_integer("n_samples", n_samples, minimum=1)
    return bound(model, encoder, x, key=key, objective=IWAE(n_samples))


def bound(
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    objective: ELBO | IWAE,
    gradient: Gradient = "reparam",
) -> Float[Array, "batch"]:
    """A lower bound on log p(x) of each example, with one of three gradients.

    The value is the same with all of them.

    - "reparam": that of automatic differentiation through the draws.
    - "stl": without the part of log q that passes only through the parameters of q, which is zero on average
      (Roeder et al. 2017, "sticking the landing"): it vanishes where q is the true posterior. For the ELBO
      only: with more weights in one bound it is biased.
    - "dreg": doubly reparameterised (Tucker et al. 2019, eq. 8): the same for k weights, and unbiased. The
      encoder's signal does not drown in noise as k grows.

    Args:
        model: p(x, z) for one example.
        encoder: Maps one example to q(z | x), of a kind with `log_prob` for "stl" and "dreg".
        x: Examples along the leading axis: an array, or a pytree of arrays such as `Observations`.
        key: Typed key.
        objective: `ELBO(...)` or `IWAE(k)`.
        gradient: "reparam", "stl" or "dreg".

    Returns:
        One value in nats for each example.

    Raises:
        ArgumentError: if an argument is not as it should be, or there is no such gradient, saying why.
    """
    check_key(key)
    check_objective(objective, gradient)
    x = jax.tree_util.tree_map(jnp.asarray, x)
    n = n_examples("x", x)

    def one(x: Data, key: PRNGKey) -> Scalar:
        return bound_of_one(model, encoder(x), x, key=key, objective=objective, gradient=gradient)

    return jax.vmap(one)(x, jax.random.split(key, n))


def check_objective(objective: ELBO | IWAE, gradient: Gradient) -> None:
    """Refuses what is no objective, and a gradient that it does not have.

    Raises:
        ArgumentError: naming it, and what to use.
    """
    check_choice("gradient", gradient, GRADIENTS)
    if isinstance(objective, ELBO):
        check_integer("n_samples of ELBO", objective.n_samples, minimum=1)
        for name in ("kl_weight", "entropy_weight"):
            weight = getattr(objective, name)
            if not isinstance(weight, Tracer) and not 0 <= float(weight) < math.inf:
                raise ArgumentError(f"{name} of ELBO must be finite and not negative, got {weight}")
    elif isinstance(objective, IWAE):
        check_integer("k of IWAE", objective.k, minimum=1)
        if objective.k > 1 and gradient == "stl":
            raise ArgumentError(
                f'gradient="stl" is biased for IWAE({objective.k}): use gradient="dreg", the same idea '
                "without bias"
            )
    else:
        raise ArgumentError(f"objective must be ELBO() or IWAE(k), got {objective!r}")


def bound_of_one(
    model: LatentModel,
    posterior: Posterior,
    x: Data,
    *,
    key: PRNGKey,
    objective: ELBO | IWAE,
    gradient: Gradient,
) -> Scalar:
    """The bound at one example and its posterior; what `bound` batches."""
    n = objective.k if isinstance(objective, IWAE) else objective.n_samples
    if isinstance(objective, IWAE) and n > 1:
        check_exact_density(f"IWAE({n})", posterior)
    if gradient != "reparam":
        check_exact_density(f'gradient="{gradient}"', posterior)
    density = None if gradient == "reparam" else fixed_density(posterior, gradient)

    def draw(key: PRNGKey, share: Scalar | None = None) -> Scalar:
        z, log_q = posterior.sample_and_log_prob(key=key)
        check_latent(model, z)
        check_scalars(model, posterior, log_q=log_q)
        if density is not None:
            z = z if share is None else scale_gradient(z, share)
            log_q = density(z)
        likelihood, prior = model.log_likelihood(x, z), model.log_prior(z)
        check_scalars(model, None, log_likelihood=likelihood, log_prior=prior)
        return _log_weight(objective, likelihood, prior, log_q)

    def each(*rows: Array) -> Float[Array, "sample"]:
        if n <= SAMPLES_AT_ONCE:
            return jax.vmap(draw)(*rows)
        return jax.lax.map(lambda row: draw(*row), rows, batch_size=SAMPLES_AT_ONCE)

    keys = jax.random.split(key, n)
    if isinstance(objective, ELBO) or n == 1:
        return jnp.mean(each(keys))
    if gradient == "dreg":
        return log_mean_exp(each(keys, jax.nn.softmax(jax.lax.stop_gradient(each(keys)))))
    return log_mean_exp(each(keys))


def check_latent(model: LatentModel, z: Any) -> None:
    """Refuses a z of another shape than the model's own.

    Raises:
        ArgumentError: naming both shapes.
    """
    own: Any = jax.eval_shape(lambda: model.sample_prior(key=jax.random.key(0)))
    if jnp.shape(z) != own.shape:
        raise ArgumentError(f"z of q has shape {jnp.shape(z)}, and z of the model {own.shape}")


def check_exact_density(what: str, posterior: Posterior) -> None:
    """Refuses a posterior whose log-density carries noise, where that makes no bound.

    Noise in log q is zero on average, so the ELBO is unbiased; but 1 / q is too large on average, and with
    it the mean of k weights, which may exceed p(x).

    Raises:
        ArgumentError: naming what needs the density, and what to use.
    """
    if has_estimated_log_det(posterior):
        raise ArgumentError(
            f"{what} needs the density of q without noise, and Hutchinson() estimates it: use "
            'trace=ExactTrace(), or ELBO() with gradient="reparam"'
        )


def fixed_density(posterior: Posterior, gradient: str) -> Callable[[Latent], Scalar]:
    """log q(z) as a function of z alone, the posterior's own arrays held fixed.

    Raises:
        ArgumentError: if the posterior has no density, or no arrays that could be held fixed.
    """
    name = type(posterior).__name__
    if not hasattr(posterior, "log_prob"):
        raise ArgumentError(
            f'gradient="{gradient}" needs the density of q at any z, and {name} has no log_prob: use '
            'gradient="reparam"'
        )
    arrays, rest = eqx.partition(posterior, eqx.is_inexact_array)
    if not jax.tree_util.tree_leaves(arrays):
        raise ArgumentError(
            f'gradient="{gradient}" holds the arrays of q fixed, and {name} is not a pytree that shows them: '
            "make it an Equinox module"
        )
    fixed: Any = eqx.combine(jax.lax.stop_gradient(arrays), rest)
    return fixed.log_prob


@jax.custom_vjp
def scale_gradient(z: Latent, factor: Scalar) -> Latent:
    """z, whose gradient is multiplied by a factor."""
    return z


scale_gradient.defvjp(lambda z, factor: (z, factor), lambda factor, cotangent: (cotangent * factor, None))


def _log_weight(objective: ELBO | IWAE, log_likelihood: Scalar, log_prior: Scalar, log_q: Scalar) -> Scalar:
    if isinstance(objective, IWAE):
        return log_prior + log_likelihood - log_q
    kl, entropy = objective.kl_weight, objective.entropy_weight
    return log_likelihood + kl * (log_prior - entropy * log_q)
