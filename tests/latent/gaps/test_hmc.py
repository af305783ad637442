"""Hamiltonian transitions: reversible, keeping volumes, leaving their target as it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, norm

from backthrough.latent import FactorisedGaussian
from backthrough.latent.gaps.hmc import Bridge, hmc_step, leapfrog
from oracles.linear_gaussian import LATENT, POSTERIOR_MEAN, PRECISION, WEIGHT, LinearGaussian, X

MODEL = LinearGaussian(jnp.asarray(WEIGHT))
Q = FactorisedGaussian(jnp.asarray(POSTERIOR_MEAN) + 0.2, jnp.full(LATENT, -1.0))
BRIDGE = Bridge(MODEL, jnp.asarray(X), Q, Q.mean, jnp.exp(Q.log_scale))


def flow(u, momentum):
    end, momentum = leapfrog(BRIDGE, BRIDGE.at(u), momentum, jnp.array(0.6), jnp.array(0.1), 7)
    return end.u, momentum


def test_leapfrog_is_reversible_and_keeps_volumes():
    u, momentum = jnp.array([0.3, -1.0, 0.5, 2.0]), jnp.array([1.0, 0.2, -0.7, 0.1])
    end, last = jax.jit(flow)(u, momentum)
    back, first = flow(end, -last)
    np.testing.assert_allclose(back, u, atol=1e-5)
    np.testing.assert_allclose(-first, momentum, atol=1e-5)
    together = jax.jacfwd(lambda both: jnp.concatenate(flow(both[:LATENT], both[LATENT:])))
    jacobian = together(jnp.concatenate([u, momentum]))
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], 0.0, atol=1e-4)


def test_a_transition_leaves_its_target_as_it_is():
    """From the exact posterior to it again, a coarse step: each coordinate by a KS test, false alarm 4e-8."""
    covariance = np.linalg.inv(PRECISION)
    draws = np.random.default_rng(0).multivariate_normal(POSTERIOR_MEAN, covariance, 4000)

    @jax.jit
    @jax.vmap
    def move(z, key):
        point, chance = hmc_step(BRIDGE, BRIDGE.at_z(z), jnp.array(1.0), jnp.array(0.7), 3, key=key)
        return point.u * BRIDGE.scale + BRIDGE.location, chance

    moved, chances = move(jnp.asarray(draws), jax.random.split(jax.random.key(0), 4000))
    assert 0.2 < chances.mean() < 0.95  # it does reject, and accept
    for own, mean, variance in zip(np.asarray(moved).T, POSTERIOR_MEAN, np.diag(covariance), strict=True):
        assert kstest(own, norm(mean, np.sqrt(variance)).cdf).pvalue > 1e-8


class Hole(eqx.Module):
    """N(0, I), and NaN where the first coordinate is above 1."""

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jnp.where(z[0] > 1, jnp.nan, 0.0) + 0 * x.sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, (2,))


@pytest.mark.parametrize("size", [0.5, 1e20])
def test_nan_is_a_rejection_and_spoils_nothing(size):
    """Also after a step so long that everything overflows."""
    q = FactorisedGaussian(jnp.zeros(2), jnp.zeros(2))
    bridge = Bridge(Hole(), jnp.zeros(1), q, jnp.zeros(2), jnp.ones(2))

    @jax.jit
    def chain(key):
        def move(point, key):
            point, chance = hmc_step(bridge, point, jnp.array(0.5), jnp.array(size), 5, key=key)
            return point, (point, chance)

        start = bridge.at(jnp.array([0.5, 0.0]))
        return jax.lax.scan(move, start, jax.random.split(key, 200))[1]

    points, chances = chain(jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in points)
    assert np.isfinite(chances).all()
    assert points.u[:, 0].max() <= 1
    assert (len(np.unique(points.u[:, 0])) > 50) == (size < 1)
