import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.latent import (
    FullGaussian,
    bernoulli_vae,
    beta_tcvae,
    beta_vae,
    factor_vae,
)

MODEL, ENCODER = bernoulli_vae(np.full(6, 0.5), latent_size=3, hidden_sizes=(5,), key=jax.random.key(0))
ENCODER = eqx.tree_at(lambda own: own.network.layers[-1].weight, ENCODER, replace_fn=lambda w: 3 * w)
X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (8, 6)), float)
KEY = jax.random.key(1)


def test_with_all_weights_one_it_is_the_elbo():
    terms = beta_tcvae(MODEL, ENCODER, X, key=KEY, beta=1.0)
    np.testing.assert_allclose(terms.values, beta_vae(MODEL, ENCODER, X, key=KEY, beta=1.0), rtol=1e-5)
    np.testing.assert_allclose(terms.values, terms.log_likelihood - terms.kl, rtol=1e-5)


def test_the_kls_closed_form_is_the_parts_on_average():
    """20,000 draws; six standard errors."""
    draws = jax.jit(jax.vmap(lambda key: beta_tcvae(MODEL, ENCODER, X, key=key, beta=2.0)))(
        jax.random.split(KEY, 20_000)
    )
    difference = np.asarray(
        draws.index_code_mi + draws.total_correlation + draws.dimension_wise_kl - draws.kl
    ).mean(1)
    assert abs(difference.mean()) < 6 * difference.std() / np.sqrt(len(difference))


def test_weights_weigh_their_parts():
    a, b, c = 0.5, 3.0, 2.0
    terms = beta_tcvae(MODEL, ENCODER, X, key=KEY, alpha=a, beta=b, gamma=c)
    expected = terms.log_likelihood - a * terms.index_code_mi - b * terms.total_correlation
    np.testing.assert_allclose(terms.values, expected - c * terms.dimension_wise_kl, rtol=1e-4)


def test_another_prior_enters_the_kl():
    class Shifted(eqx.Module):
        inner: eqx.Module

        def log_prior(self, z):
            return self.inner.log_prior(z - 1)

        def log_likelihood(self, x, z):
            return self.inner.log_likelihood(x, z)

        def sample_prior(self, *, key):
            return self.inner.sample_prior(key=key) + 1

    plain, shifted = (beta_tcvae(model, ENCODER, X, key=KEY, beta=1.0) for model in (MODEL, Shifted(MODEL)))
    posteriors = jax.vmap(ENCODER)(X)
    z = [
        posteriors.mean[i] + jnp.exp(posteriors.log_scale[i]) * jax.random.normal(key, (3,))
        for i, key in enumerate(jax.random.split(KEY, 8))
    ]
    np.testing.assert_allclose(shifted.kl - plain.kl, [1.5 - own.sum() for own in z], atol=1e-4)


@pytest.mark.parametrize("weights", [{"beta": 6.0}, {"beta": 6.0, "alpha": 0.0, "gamma": 2.0}])
def test_mws_has_the_gradient_of_the_batchs_mixture(weights):
    def loss(encoder, estimator, n_data):
        terms = beta_tcvae(MODEL, encoder, X, key=KEY, estimator=estimator, n_data=n_data, **weights)
        return terms.values.mean()

    ours = eqx.filter_grad(loss)(ENCODER, "mws", 1000)
    reference = eqx.filter_grad(loss)(ENCODER, "in-batch", None)
    for own, other in zip(jax.tree_util.tree_leaves(ours), jax.tree_util.tree_leaves(reference), strict=True):
        np.testing.assert_allclose(own, other, atol=2e-5)


def test_weights_may_change_inside_jit():
    values = eqx.filter_jit(lambda beta: beta_tcvae(MODEL, ENCODER, X, key=KEY, beta=beta).values)
    np.testing.assert_allclose(
        values(jnp.array(6.0)), beta_tcvae(MODEL, ENCODER, X, key=KEY, beta=6.0).values, rtol=1e-5
    )


class Bilinear(eqx.Module):
    weight: jax.Array

    def __call__(self, z):
        return self.weight * z[0] * z[1]


def test_factor_vae_keeps_its_two_objectives_apart():
    def both(parts):
        model, encoder, discriminator = parts
        terms = factor_vae(model, encoder, discriminator, X, key=KEY, gamma=5.0)
        return jnp.stack([-terms.values.mean(), terms.discriminator_loss])

    parts = (MODEL, ENCODER, Bilinear(jnp.array(0.7)))
    values, loss = (eqx.filter_grad(lambda parts, i=i: both(parts)[i])(parts) for i in range(2))
    assert values[2].weight == 0
    assert loss[2].weight != 0
    for own in jax.tree_util.tree_leaves(loss[:2]):
        np.testing.assert_array_equal(own, 0)
    terms = factor_vae(*parts, X, key=KEY, gamma=5.0)
    expected = terms.log_likelihood - terms.kl - 5 * terms.total_correlation
    np.testing.assert_allclose(terms.values, expected, rtol=1e-5)


def test_the_shuffled_half_has_independent_coordinates():
    """E[z_0 z_1] of the shuffled half is the product of the means: six standard errors."""
    x = jnp.tile(X, (500, 1))

    def loss(weight):
        return factor_vae(MODEL, ENCODER, Bilinear(weight), x, key=KEY, gamma=1.0).discriminator_loss

    gradient = float(jax.grad(loss)(jnp.array(0.0)))  # -E_q[z_0 z_1] / 4 + E_shuffled[z_0 z_1] / 4
    posteriors = jax.vmap(ENCODER)(X)
    expected = -float((posteriors.mean[:, 0] * posteriors.mean[:, 1]).mean()) / 4
    shuffled = float(posteriors.mean[:, 0].mean() * posteriors.mean[:, 1].mean()) / 4
    spread = float(jnp.sqrt(jnp.mean(posteriors.mean**2 + jnp.exp(2 * posteriors.log_scale)))) ** 2
    assert abs(gradient - expected - shuffled) < 6 * 3 * spread / 4 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: beta_tcvae(MODEL, ENCODER, X, key=KEY, beta=-1.0), "beta must be finite and not negative"),
        (lambda: beta_tcvae(MODEL, ENCODER, X, key=KEY, beta=2.0, estimator="mss"), "needs n_data"),
        (lambda: beta_tcvae(MODEL, ENCODER, X[:1], key=KEY, beta=2.0), "at least 2 examples"),
        (lambda: factor_vae(MODEL, ENCODER, lambda z: z, X, key=KEY, gamma=1.0), r"got shape \(3,\)"),
        (lambda: factor_vae(MODEL, ENCODER, lambda z: z[0], X[:3], key=KEY, gamma=1.0), "at least 4"),
        (
            lambda: beta_vae(MODEL, lambda x: FullGaussian(x[:3], x[:3], jnp.eye(3)), X, key=KEY, beta=1.0),
            "returns FullGaussian",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
