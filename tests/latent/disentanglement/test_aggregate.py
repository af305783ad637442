import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from backthrough.core import ArgumentError
from backthrough.latent import FactorisedGaussian, log_aggregate

EPS = float(jnp.finfo(jnp.result_type(float)).eps)


def posteriors_of(means, scales):
    return jax.vmap(FactorisedGaussian)(jnp.asarray(means, float), jnp.log(jnp.asarray(scales, float)))


def some(n=6, latent=3, seed=0):
    rng = np.random.default_rng(seed)
    means, scales = rng.normal(size=(n, latent)), np.exp(0.3 * rng.normal(size=(n, latent)) - 0.5)
    return means, scales, means + scales * rng.normal(size=(n, latent))


@pytest.mark.parametrize("estimator", ["mss", "loo"])
def test_stratified_estimators_are_unbiased_for_q(estimator):
    """All ordered batches of 4 of 6 examples that hold the one that z was drawn from: all 60."""
    means, scales, z = some()
    log_q = norm.logpdf(z[0], means, scales)
    q, marginals = np.exp(log_q.sum(1)).mean(), np.exp(log_q).mean(0)

    @jax.jit
    def at_first(rows):
        own = posteriors_of(jnp.asarray(means)[rows], jnp.asarray(scales)[rows])
        draws = jnp.broadcast_to(jnp.asarray(z[0], float), (4, 3))
        found = log_aggregate(draws, own, estimator=estimator, n_data=6)
        return jnp.exp(found.joint[0]), jnp.exp(found.marginals[0])

    batches = np.array([(0, *rest) for rest in itertools.permutations(range(1, 6), 3)])
    joint, each = (np.asarray(values, np.float64).mean(0) for values in jax.vmap(at_first)(batches))
    np.testing.assert_allclose(joint / q, 1, rtol=50 * EPS)
    np.testing.assert_allclose(each / marginals, 1, rtol=50 * EPS)


def test_loo_is_mss_averaged_over_the_order_of_the_batch():
    means, scales, z = some(4)
    orders = list(itertools.permutations(range(4)))
    values = []
    for order in orders:
        rows = list(order)
        found = log_aggregate(
            jnp.asarray(z[rows], float), posteriors_of(means[rows], scales[rows]), estimator="mss", n_data=10
        )
        values.append(np.exp(np.asarray(found.joint))[np.argsort(rows)])
    loo = log_aggregate(jnp.asarray(z, float), posteriors_of(means, scales), estimator="loo", n_data=10)
    np.testing.assert_allclose(np.mean(values, 0), np.exp(loo.joint), rtol=50 * EPS)


def test_weights_of_mss_are_the_papers():
    """Posteriors far from each other: each draw sees its own weight alone, 1 / N."""
    means = np.arange(4.0)[:, None] * 1e3
    for where, weight in {0: 0.1, 1: 0.7 / 3, 2: 1 / 3, 3: 1 / 3}.items():
        z = np.roll(means, -where, axis=0)  # z_i lies where posterior i + where is
        found = log_aggregate(
            jnp.asarray(z), posteriors_of(means, np.ones((4, 1))), estimator="mss", n_data=10
        )
        np.testing.assert_allclose(found.joint - norm.logpdf(0), np.log(weight), rtol=50 * EPS, atol=50 * EPS)


def test_a_batch_of_all_is_the_full_mixture():
    means, scales, z = some(7)
    batch = log_aggregate(jnp.asarray(z, float), posteriors_of(means, scales), estimator="in-batch")
    full = log_aggregate(jnp.asarray(z, float), posteriors_of(means, scales), estimator="full")
    log_q = norm.logpdf(z[:, None], means, scales)
    for found in (batch, full):
        np.testing.assert_allclose(found.joint, logsumexp(log_q.sum(2), axis=1) - np.log(7), rtol=200 * EPS)
        np.testing.assert_allclose(found.marginals, logsumexp(log_q, axis=1) - np.log(7), atol=200 * EPS)


def test_mws_is_the_unnormalised_total_correlation_but_for_a_constant():
    """disentanglement_lib leaves out 1 / (N B)."""
    means, scales, z = some(6, 3)
    joint, marginals = log_aggregate(
        jnp.asarray(z, float), posteriors_of(means, scales), estimator="mws", n_data=100
    )
    log_q = norm.logpdf(z[:, None], means, scales)
    theirs = logsumexp(log_q.sum(2), axis=1) - logsumexp(log_q, axis=1).sum(1)
    np.testing.assert_allclose(joint - marginals.sum(1) - 2 * np.log(600), theirs, atol=500 * EPS)


def test_table_of_estimators():
    """Means over 60 batches of 128 of 4,096; standard errors are below .02, and .1 is allowed."""
    rng = np.random.default_rng(0)
    n = 4096
    means = rng.normal(size=(n, 6)) * [1, 1, 1, 1, 0.02, 0.02]
    means[:, 1] = 0.8 * means[:, 0] + 0.6 * means[:, 1]
    scales = np.broadcast_to([0.2, 0.3, 0.3, 0.5, 1, 1], means.shape)

    @jax.jit
    def terms(rows, key):
        own = posteriors_of(jnp.asarray(means)[rows], jnp.asarray(scales)[rows])
        z, log_q = jax.vmap(lambda q, key: q.sample_and_log_prob(key=key))(own, jax.random.split(key, 128))
        log_p = jax.scipy.stats.norm.logpdf(z).sum(1)
        found = {}
        for estimator in ("mws", "in-batch", "mss", "loo"):
            joint, marginals = log_aggregate(z, own, estimator=estimator, n_data=n)
            parts = (log_q - joint, joint - marginals.sum(1), marginals.sum(1) - log_p)
            found[estimator] = jnp.stack(parts).mean(1), (log_q - log_p).mean()
        return found

    rows = np.stack([rng.permutation(n)[:128] for _ in range(60)])
    found = jax.vmap(terms)(rows, jax.random.split(jax.random.key(1), 60))
    expected = {
        "mws": (12.14, 42.6, -49.8),
        "in-batch": (3.84, 1.00, 0.105),
        "mss": (5.00, 0.056, -0.075),
        "loo": (4.96, 0.050, -0.071),
    }
    for estimator, (parts, kl) in found.items():
        np.testing.assert_allclose(parts.mean(0), expected[estimator], atol=0.1)
        np.testing.assert_allclose(parts.sum(1), kl, rtol=1e-5)  # they telescope


def test_gradients_are_those_of_the_formula():
    means, scales, z = (jnp.asarray(own, float) for own in some(5))

    def ours(means, scales, z):
        found = log_aggregate(z, posteriors_of(means, scales), estimator="loo", n_data=20)
        return jnp.sum(found.joint - 2 * found.marginals.sum(1))

    def plain(means, scales, z):
        log_q = jax.scipy.stats.norm.logpdf(z[:, None], means, scales)
        weights = jnp.where(jnp.eye(5) == 1, 1 / 20, 19 / 20 / 4)
        joint = jnp.log(jnp.sum(weights * jnp.exp(log_q.sum(2)), 1))
        return jnp.sum(joint - 2 * jnp.log(jnp.sum(weights[..., None] * jnp.exp(log_q), 1)).sum(1))

    for own, reference in zip(
        jax.grad(ours, (0, 1, 2))(means, scales, z), jax.grad(plain, (0, 1, 2))(means, scales, z), strict=True
    ):
        np.testing.assert_allclose(own, reference, atol=3000 * EPS)


def test_half_precision_is_summed_in_single():
    means, scales, z = some(6)
    halves = jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.bfloat16), posteriors_of(means, scales))
    found = log_aggregate(jnp.asarray(z, jnp.bfloat16), halves, estimator="in-batch")
    assert found.joint.dtype == jnp.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": "mws"}, "needs n_data"),
        ({"estimator": "mss", "n_data": 5}, "n_data=5 is smaller than the batch of 6"),
        ({"estimator": "in-batch", "z": jnp.zeros((5, 3))}, "one draw of each posterior, got 5 draws and 6"),
        ({"estimator": "full", "z": jnp.zeros((6, 2))}, r"\(6, 2\) and \(6, 3\)"),
    ],
)
def test_bad_arguments_are_named(change, message):
    means, scales, z = some(6)
    arguments = {"z": jnp.asarray(z, float), **change}
    with pytest.raises(ArgumentError, match=message):
        log_aggregate(arguments.pop("z"), posteriors_of(means, scales), **arguments)


def test_a_batch_of_one_has_no_stratified_estimate():
    one = posteriors_of(np.zeros((1, 2)), np.ones((1, 2)))
    with pytest.raises(ArgumentError, match="at least 2 examples, got 1"):
        log_aggregate(jnp.zeros((1, 2)), one, estimator="loo", n_data=10)
