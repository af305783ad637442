"""Posteriors of single examples, optimised to where closed forms say that they end."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from backthrough.core import ArgumentError
from backthrough.flows import planar_chain
from backthrough.latent import (
    ELBO,
    IWAE,
    FactorisedGaussian,
    FlowEncoder,
    FullGaussian,
    GaussianEncoder,
    bound,
    local_bound,
    local_posteriors,
)
from oracles.linear_gaussian import LOG_P, POSTERIOR_MEAN, PRECISION, WEIGHT, LinearGaussian, X, exact_elbo

MODEL = LinearGaussian(jnp.asarray(WEIGHT))
KEY = jax.random.key(0)
XS = jnp.stack([jnp.asarray(X), -0.5 * jnp.asarray(X)])
BEST_GAP = 0.5 * (np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1])


def encoder():
    return GaussianEncoder(eqx.nn.MLP(8, 8, 6, 1, jnp.tanh, key=KEY), jnp.zeros(8))


def flow_encoder():
    network = eqx.nn.MLP(8, 8, 6, 1, jnp.tanh, key=KEY)
    return FlowEncoder(network, planar_chain(4, 2, key=KEY), jnp.zeros(8), 4)


def test_the_best_factorised_gaussian_is_the_published_one():
    np.testing.assert_allclose(BEST_GAP, 0.572027, atol=1e-6)
    np.testing.assert_allclose(LOG_P - BEST_GAP, -17.758457, atol=1e-6)
    np.testing.assert_allclose(
        exact_elbo(POSTERIOR_MEAN, 1 / np.sqrt(np.diag(PRECISION))), LOG_P - BEST_GAP, rtol=1e-12
    )


@pytest.mark.parametrize("make", [encoder, flow_encoder])
@pytest.mark.parametrize(("objective", "gradient"), [(ELBO(2), "stl"), (IWAE(3), "dreg")])
def test_they_start_with_the_encoders_bound(make, objective, gradient):
    own = make()
    options = {"key": KEY, "objective": objective, "gradient": gradient}
    posteriors = local_posteriors(own, XS)
    found = local_bound(MODEL, posteriors, XS, **options)
    np.testing.assert_allclose(found, bound(MODEL, own, XS, **options), rtol=1e-5)


def optimised(posteriors, steps=2_500):
    """Adam on what sticking the landing gives, with a rate that falls to zero."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, steps))
    arrays, rest = eqx.partition(posteriors, eqx.is_inexact_array)

    def step(state, key):
        arrays, memory = state

        def loss(arrays):
            own = eqx.combine(arrays, rest)
            return -local_bound(MODEL, own, XS, key=key, objective=ELBO(8), gradient="stl").sum()

        updates, memory = optimiser.update(jax.grad(loss)(arrays), memory)
        return (optax.apply_updates(arrays, updates), memory), None

    start = (arrays, optimiser.init(arrays))
    (arrays, _), _ = jax.jit(lambda: jax.lax.scan(step, start, jax.random.split(KEY, steps)))()
    return eqx.combine(arrays, rest)


def test_a_factorised_gaussian_ends_at_its_closed_form():
    """From an encoder: the ELBO of each example is within 2e-3 nats of the best one of the family."""
    found = optimised(local_posteriors(encoder(), XS))
    value = exact_elbo(
        np.asarray(found.mean[0], np.float64), np.exp(np.asarray(found.log_scale[0], np.float64))
    )
    assert -2e-3 < value - (LOG_P - BEST_GAP) < 1e-6
    np.testing.assert_allclose(found.mean[1], -0.5 * POSTERIOR_MEAN, atol=0.02)  # m(x) is linear in x
    np.testing.assert_allclose(np.exp(-2 * found.log_scale[1]), np.diag(PRECISION), rtol=0.05)


def test_one_with_any_covariance_ends_at_the_posterior():
    """From scratch: no gap is left, and the covariance is that of p(z | x)."""
    start = FullGaussian(jnp.zeros(4), jnp.zeros(4), jnp.zeros((4, 4)))
    found = optimised(local_posteriors(lambda x: start, XS))
    factor = np.tril(np.asarray(found.below[0]), -1) + np.diag(np.exp(np.asarray(found.log_diagonal[0])))
    np.testing.assert_allclose(factor @ factor.T @ PRECISION, np.eye(4), atol=0.02)
    values = local_bound(MODEL, found, XS, key=KEY, objective=ELBO(100))
    assert abs(float(values[0]) - LOG_P) < 1e-2


def test_wrong_use_is_named():
    posteriors = local_posteriors(encoder(), XS)
    with pytest.raises(ArgumentError, match="posteriors are of 2 examples, and x has 1"):
        local_bound(MODEL, posteriors, XS[:1], key=KEY, objective=ELBO())
    with pytest.raises(ArgumentError, match="x has no examples"):
        local_posteriors(encoder(), XS[:0])
    with pytest.raises(ArgumentError, match="posteriors must be an array, or a pytree of arrays"):
        local_bound(MODEL, (jnp.array(0.0),), XS, key=KEY, objective=ELBO())
    with pytest.raises(ArgumentError, match="biased for IWAE"):
        local_bound(MODEL, posteriors, XS, key=KEY, objective=IWAE(2), gradient="stl")

    class Opaque:
        pass

    with pytest.raises(ArgumentError, match="Opaque shows no arrays to optimise"):
        local_bound(MODEL, Opaque(), XS, key=KEY, objective=ELBO())
    one = FactorisedGaussian(jnp.zeros(4), jnp.zeros(4))
    with pytest.raises(ArgumentError, match="posteriors are of 4 examples, and x has 2"):
        local_bound(MODEL, one, XS, key=KEY, objective=ELBO())  # not one for each example
