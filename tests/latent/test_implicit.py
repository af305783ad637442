"""The implicit posterior against enumeration of a latent with six states."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm

from backthrough.core import ArgumentError
from backthrough.latent import FactorisedGaussian, ImplicitPosterior

RNG = np.random.default_rng(0)
JOINT = RNG.dirichlet(0.5 * np.ones(6)) * 0.037  # p(x, z)
Q = RNG.dirichlet(np.ones(6))
WEIGHTS = JOINT / Q
K = 2


class States(eqx.Module):
    """q over six states."""

    def sample_and_log_prob(self, *, key):
        state = jax.random.categorical(key, jnp.log(jnp.asarray(Q)))
        z = state[None].astype(float)
        return z, self.log_prob(z)

    def log_prob(self, z):
        return jnp.log(jnp.asarray(Q))[z.astype(int)[0]]


class Table(eqx.Module):
    """p(x, z) of a table."""

    def log_prior(self, z):
        return jnp.log(jnp.asarray(JOINT))[z.astype(int)[0]]

    def log_likelihood(self, x, z):
        return jnp.zeros(())

    def sample_prior(self, *, key):
        return jnp.zeros(1)


EW = ImplicitPosterior(Table(), States(), jnp.zeros(1), K)


def enumerate_exactly():
    """q_EW, L_2, the lower estimate with two sets, L[q_EW], the upper one with two sets, log p(x)."""
    pairs = list(itertools.product(range(6), repeat=2))
    mean = {pair: WEIGHTS[list(pair)].mean() for pair in pairs}
    q_ew = np.array([sum(Q[j] * JOINT[z] / mean[z, j] for j in range(6)) for z in range(6)])
    bound = sum(Q[i] * Q[j] * np.log(mean[i, j]) for i, j in pairs)
    lower = sum(  # a pair, which of it is chosen, and the fresh companion
        Q[i] * Q[j] * Q[m] * 0.5 * WEIGHTS[z] / mean[i, j] * -np.log(0.5 / mean[i, j] + 0.5 / mean[z, m])
        for i, j in pairs for z in (i, j) for m in range(6)
    )  # fmt: skip
    upper = sum(
        q_ew[z] * Q[a] * Q[b] * -np.log(0.5 / mean[z, a] + 0.5 / mean[z, b])
        for z in range(6) for a in range(6) for b in range(6)
    )  # fmt: skip
    return q_ew, bound, lower, np.sum(q_ew * np.log(JOINT / q_ew)), upper, np.log(JOINT.sum())


def test_the_figures_are_the_published_ones():
    q_ew, *figures = enumerate_exactly()
    np.testing.assert_allclose(q_ew.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(figures, [-3.7012, -3.6550, -3.6154, -3.5685, -3.2968], atol=6e-5)


def test_draws_have_its_distribution():
    """Chi squared on 20,000 draws; false alarm 1e-8."""
    draws = jax.jit(jax.vmap(lambda key: EW.sample(key=key)))(jax.random.split(jax.random.key(0), 20_000))
    counts = np.bincount(np.asarray(draws, int)[:, 0], minlength=6)
    assert chisquare(counts, 20_000 * enumerate_exactly()[0]).pvalue > 1e-8


@pytest.mark.parametrize("n_sets", [1, 2])
def test_its_elbo_from_both_sides(n_sets):
    """Within 6 standard errors on both sides: false alarm 4e-9."""
    keys = jax.random.split(jax.random.key(1), 40_000)
    sides = jax.jit(jax.vmap(lambda key: EW.elbo(key=key, n_sets=n_sets)))(keys)
    q_ew, bound, two_lower, _, two_upper, _ = enumerate_exactly()
    one_upper = sum(q_ew[z] * Q[j] * np.log(WEIGHTS[[z, j]].mean()) for z in range(6) for j in range(6))
    exact = (bound, one_upper) if n_sets == 1 else (two_lower, two_upper)
    for found, expected in zip(map(np.asarray, sides), exact, strict=True):
        assert abs(found.mean() - expected) < 6 * found.std() / np.sqrt(len(found))


def test_its_density():
    """The mean of the estimated density, not of its logarithm, is unbiased: within 6 standard errors."""
    keys = jax.random.split(jax.random.key(2), 4_000)
    of_states = jax.jit(
        jax.vmap(lambda key: jax.vmap(lambda z: EW.log_prob(z, key=key, n_sets=3))(jnp.arange(6.0)[:, None]))
    )
    found = np.exp(np.asarray(of_states(keys), float))
    error = found.std(0) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - enumerate_exactly()[0]) < 6 * error + 1e-6).all()


class Normal(eqx.Module):
    """z ~ N(0, 1), x | z ~ N(z, 1)."""

    def log_prior(self, z):
        return jnp.sum(-0.5 * z**2)

    def log_likelihood(self, x, z):
        return jnp.sum(-0.5 * (x - z) ** 2)

    def sample_prior(self, *, key):
        return jax.random.normal(key, (1,))


def draws(k, n=2_000):
    q = FactorisedGaussian(jnp.array([-1.0]), jnp.array([0.3]))
    own = ImplicitPosterior(Normal(), q, jnp.array([1.0]), k)
    keys = jax.random.split(jax.random.key(3), n)
    return np.asarray(jax.jit(jax.vmap(lambda key: own.sample(key=key)))(keys))[:, 0]


def test_from_q_to_the_true_posterior():
    """Kolmogorov-Smirnov: k = 1 is q, k = 500 is near p(z | x) = N(1/2, 1/2); false alarm 1e-8."""
    assert kstest(draws(1), norm(-1, np.exp(0.3)).cdf).pvalue > 1e-8
    assert kstest(draws(500), norm(0.5, np.sqrt(0.5)).cdf).pvalue > 1e-8
    assert kstest(draws(1), norm(0.5, np.sqrt(0.5)).cdf).pvalue < 1e-8


def test_reconstructions_and_refusals():
    q = FactorisedGaussian(jnp.array([0.5]), 0.5 * jnp.log(jnp.array([0.5])))  # the true posterior
    own = ImplicitPosterior(Normal(), q, jnp.array([1.0]), 5)
    found = own.reconstruct(lambda z: 2 * z, key=jax.random.key(0), n_samples=4_000)
    assert abs(float(found[0]) - 1.0) < 6 * 2 * np.sqrt(0.5 / 4_000)
    with pytest.raises(ArgumentError, match="k of ImplicitPosterior"):
        ImplicitPosterior(Normal(), q, jnp.array([1.0]), 0)
    with pytest.raises(ArgumentError, match="n_sets"):
        own.elbo(key=jax.random.key(0), n_sets=0)

    class Blind(eqx.Module):
        def sample_and_log_prob(self, *, key):
            return jax.random.normal(key, (1,)), jnp.zeros(())

    with pytest.raises(ArgumentError, match="Blind has none"):
        ImplicitPosterior(Normal(), Blind(), jnp.array([1.0]), 5).log_prob(
            jnp.zeros(1), key=jax.random.key(0)
        )
