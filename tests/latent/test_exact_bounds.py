"""The importance-weighted bound and its gradients against quadrature, the papers' sums and enumeration."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from backthrough.latent import ELBO, IWAE, FactorisedGaussian, bound

MEAN, LOG_SCALE, SLOPE, X = -0.5, 0.6, 1.0, 1.0


class Model(eqx.Module):
    """z ~ N(0, 1), x | z ~ N(slope z, 1)."""

    slope: jax.Array

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jax.scipy.stats.norm.logpdf(x, self.slope * z).sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, (1,))


def value_and_gradient(objective, gradient, keys):
    """Of every key: the bound, and its gradient by slope, mean and log scale, shapes (n,) and (n, 3)."""

    def one(key):
        def value(slope, mean, log_scale):
            return bound(
                Model(slope),
                lambda x: FactorisedGaussian(mean[None], log_scale[None]),
                jnp.array([[X]]),
                key=key,
                objective=objective,
                gradient=gradient,
            )[0]

        at = (jnp.array(SLOPE), jnp.array(MEAN), jnp.array(LOG_SCALE))
        found, slopes = jax.value_and_grad(value, (0, 1, 2))(*at)
        return found, jnp.stack(slopes)

    return (np.asarray(a, np.float64) for a in jax.jit(jax.vmap(one))(keys))


def quadrature(slope, mean, log_scale):
    """L_2 by a sum over the noise of both draws."""
    noise = np.linspace(-9, 9, 1201)
    z = mean + np.exp(log_scale) * noise
    log_w = norm.logpdf(z) + norm.logpdf(X, slope * z) - norm.logpdf(z, mean, np.exp(log_scale))
    each = norm.pdf(noise) * (noise[1] - noise[0])
    return each @ (np.logaddexp(log_w[:, None], log_w) - np.log(2)) @ each


@pytest.mark.parametrize("gradient", ["reparam", "dreg"])
def test_two_weights_are_what_quadrature_says(gradient):
    """100,000 draws of value and gradient within 6 standard errors: false alarm below 1e-8."""
    at = np.array([SLOPE, MEAN, LOG_SCALE])
    exact = [(quadrature(*(at + step)) - quadrature(*(at - step))) / 2e-5 for step in 1e-5 * np.eye(3)]
    values, slopes = value_and_gradient(IWAE(2), gradient, jax.random.split(jax.random.key(1), 100_000))
    error = values.std() / np.sqrt(len(values))
    assert error < 0.01
    assert abs(values.mean() - quadrature(*at)) < 6 * error
    errors = slopes.std(0) / np.sqrt(len(slopes))
    assert (errors < 0.02).all()
    assert (np.abs(slopes.mean(0) - exact) < 6 * errors).all()


@pytest.mark.parametrize(
    ("objective", "gradient"), [(ELBO(5), "stl"), (IWAE(1), "stl"), (IWAE(5), "reparam"), (IWAE(5), "dreg")]
)
def test_every_draw_has_the_papers_sum(objective, gradient):
    """With v the normalised weights (1/k for the ELBO), w and its derivatives written out.

    "stl": sum of v dw/dz dz/dphi (Roeder et al. 2017); "dreg": with v squared (Tucker et al. 2019, eq. 8);
    "reparam": besides that of "stl", v dw/dphi (Burda et al. 2015, eq. 14).
    """
    n = objective.n_samples if isinstance(objective, ELBO) else objective.k
    key = jax.random.key(2)
    keys = jax.random.split(jax.random.split(key, 1)[0], n)
    noise = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (1,)))(keys), np.float64)[:, 0]
    scale = np.exp(LOG_SCALE)
    z = MEAN + scale * noise
    log_w = norm.logpdf(z) + norm.logpdf(X, SLOPE * z) - norm.logpdf(z, MEAN, scale)
    v = np.full(n, 1 / n) if isinstance(objective, ELBO) else np.exp(log_w) / np.exp(log_w).sum()
    by_z = -z + SLOPE * (X - SLOPE * z) + noise / scale
    path = by_z[:, None] * np.stack([np.ones(n), scale * noise], 1)
    score = -np.stack([noise / scale, noise**2 - 1], 1)  # of - log q, z held fixed
    expected = {
        "stl": v @ path,
        "dreg": v**2 @ path,
        "reparam": v @ (path + score),
    }[gradient]
    _, found = value_and_gradient(objective, gradient, key[None])
    np.testing.assert_allclose(found[0, 1:], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0, 0], v @ ((X - SLOPE * z) * z), rtol=1e-4)


RNG = np.random.default_rng(0)
JOINT = RNG.dirichlet(0.5 * np.ones(6)) * 0.037  # p(x, z)
Q = RNG.dirichlet(np.ones(6))


class Table(eqx.Module):
    """p(x, z) of six states."""

    log_joint: jax.Array

    def log_prior(self, z):
        return self.log_joint[z.astype(int)[0]]

    def log_likelihood(self, x, z):
        return jnp.zeros(())

    def sample_prior(self, *, key):
        return jnp.zeros(1)


class States(eqx.Module):
    """q over six states."""

    def sample_and_log_prob(self, *, key):
        state = jax.random.categorical(key, jnp.log(jnp.asarray(Q)))
        return state[None].astype(float), jnp.log(jnp.asarray(Q))[state]


def test_a_discrete_latent_is_what_enumeration_says():
    """L_2 = -3.7012 and its gradient by log p(x, z): 20,000 draws within 6 standard errors, 7 comparisons."""
    weights = JOINT / Q
    mean = 0.5 * (weights[:, None] + weights)
    exact = Q @ np.log(mean) @ Q
    assert exact == pytest.approx(-3.7012, abs=5e-5)  # as computed independently
    by_log_joint = Q * weights * ((1 / mean) @ Q)  # each of two draws has half of the mean weight

    def one(key):
        def value(log_joint):
            x = jnp.zeros((1, 1))
            return bound(Table(log_joint), lambda x: States(), x, key=key, objective=IWAE(2))[0]

        return jax.value_and_grad(value)(jnp.log(jnp.asarray(JOINT)))

    keys = jax.random.split(jax.random.key(3), 20_000)
    values, slopes = (np.asarray(a, np.float64) for a in jax.jit(jax.vmap(one))(keys))
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - exact) < 6 * error
    errors = slopes.std(0) / np.sqrt(len(slopes))
    assert (np.abs(slopes.mean(0) - by_log_joint) < 6 * errors + 1e-7).all()
