"""Relaxed variables and their conditionals: distribution, sign, numerics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from backthrough.estimators.families import BernoulliFamily, CategoricalFamily, OneHotFamily

BERNOULLI, ONE_HOT = BernoulliFamily(), OneHotFamily()
N = 40_000
FALSE_ALARM = 1e-9  # of each Kolmogorov-Smirnov test


def relaxed_and_conditional(family, logits, seed=0):
    """z, b = H(z), and z' given b, many draws each."""

    def draw(key):
        one, two = jax.random.split(key)
        z = family.relax(logits, family.noise(logits, key=one))
        b = family.harden(z)
        return z, b, family.condition(logits, b, family.noise(logits, key=two))

    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(seed), N))


@pytest.mark.parametrize("logit", [-3.0, 0.0, 1.2])
def test_bernoulli_conditional_has_the_marginal(logit):
    z, _, other = (
        np.asarray(a, np.float64) for a in relaxed_and_conditional(BERNOULLI, jnp.asarray([logit]))
    )
    for values in (z, other):
        assert stats.kstest(values[:, 0], stats.logistic(loc=logit).cdf).pvalue > FALSE_ALARM


def test_categorical_conditional_has_the_marginal():
    logits = jnp.array([0.3, -0.7, 1.1, 0.0])
    z, b, other = (np.asarray(a, np.float64) for a in relaxed_and_conditional(ONE_HOT, logits))
    for k, log_p in enumerate(np.asarray(jax.nn.log_softmax(logits), np.float64)):
        assert stats.kstest(z[:, k], stats.gumbel_r(loc=log_p).cdf).pvalue > FALSE_ALARM
        assert stats.kstest(other[:, k], stats.gumbel_r(loc=log_p).cdf).pvalue > FALSE_ALARM
    # not only the marginals: z and z' given the same b have one joint distribution
    for k in range(4):
        chosen = b[:, k] > 0
        gap, other_gap = z[chosen, k] - z[chosen, k - 1], other[chosen, k] - other[chosen, k - 1]
        assert stats.ks_2samp(gap, other_gap).pvalue > FALSE_ALARM


def test_two_categories_are_a_bernoulli():
    logits = jnp.array([0.2, 0.9])
    z, _, other = (np.asarray(a, np.float64) for a in relaxed_and_conditional(ONE_HOT, logits))
    for values in (z, other):
        difference = values[:, 1] - values[:, 0]
        assert stats.kstest(difference, stats.logistic(loc=0.7).cdf).pvalue > FALSE_ALARM


def test_the_stable_forms_are_the_textbook_ones():
    """Grathwohl et al. 2018, app. B and C, computed in float64."""
    rng = np.random.default_rng(0)
    logits, v = rng.normal(size=50), rng.uniform(size=50)
    theta = 1 / (1 + np.exp(-logits))
    for b in (0.0, 1.0):
        uniform = v * (1 - theta) if b == 0 else v * theta + (1 - theta)
        expected = logits + np.log(uniform / (1 - uniform))
        ours = BERNOULLI.condition(jnp.asarray(logits), jnp.full(50, b), jnp.asarray(np.log(v / (1 - v))))
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)
    logits, v = rng.normal(size=5), rng.uniform(size=5)
    p = np.exp(logits) / np.exp(logits).sum()
    expected = -np.log(-np.log(v) / p - np.log(v[2]))
    expected[2] = -np.log(-np.log(v[2]))
    gumbel = jnp.asarray(-np.log(-np.log(v)))
    ours = ONE_HOT.condition(jnp.asarray(logits), jnp.eye(5)[2], gumbel)
    np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)
    index = CategoricalFamily()
    np.testing.assert_allclose(index.condition(jnp.asarray(logits), jnp.asarray(2), gumbel), ours)


@pytest.mark.parametrize("family", [BERNOULLI, ONE_HOT])
def test_coupled_noise_gives_back_z(family):
    logits = jax.random.normal(jax.random.key(3), (200, 6)) * 2
    z = family.relax(logits, family.noise(logits, key=jax.random.key(4)))
    back = family.condition(logits, family.harden(z), family.couple(logits, z))
    np.testing.assert_allclose(back, z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "logits"),
    [
        (BERNOULLI, np.array([-50.0, -20.0, -15.0, -1.0, 0.0, 1.0, 15.0, 20.0, 50.0])),
        (ONE_HOT, np.array([[100.0, -100.0, 0.0], [50.0, 50.0, -50.0], [-100.0, 100.0, 100.0]])),
    ],
)
@pytest.mark.parametrize("coupled", [False, True])
def test_extreme_logits_in_single_precision(family, logits, coupled):
    """Every b, not only the likely one: values and two derivatives finite, and H(z') = b always."""
    logits = jnp.asarray(logits, jnp.float32)
    width = logits.shape[-1]
    every = (
        [jnp.zeros_like(logits), jnp.ones_like(logits)]
        if family is BERNOULLI
        else list(jnp.broadcast_to(jnp.eye(width, dtype=logits.dtype)[:, None], (width, *logits.shape)))
    )

    @jax.jit
    @jax.vmap
    def look(key):
        one, two = jax.random.split(key)
        noise = family.noise(logits, key=one)
        z = family.relax(logits, noise)
        cases = [family.harden(z)] if coupled else every
        seen, right = [z], jnp.asarray(True)
        for b in cases:
            other = family.couple(logits, z) if coupled else family.noise(logits, key=two)

            def total(logits, b=b, other=other):
                both = (family.condition(logits, b, other), family.relax(logits, noise))
                return sum(jnp.sum(jnp.tanh(own)) for own in both)

            seen += [family.condition(logits, b, other), jax.grad(total)(logits)]
            seen.append(jax.grad(lambda p: jnp.sum(jax.grad(total)(p) ** 2))(logits))
            right &= jnp.all(family.harden(family.condition(logits, b, other)) == b)
        return jnp.stack([jnp.all(jnp.isfinite(own)) for own in seen]).all(), right

    finite, right = look(jax.random.split(jax.random.key(0), 2000))
    assert bool(finite.all())
    assert bool(right.all())
