"""Three gradients of the bounds, against closed forms, each other and enumeration."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.latent import ELBO, IWAE, FactorisedGaussian, bound, elbo, iwae


class Model(eqx.Module):
    """z ~ N(0, 1), x | z ~ N(slope z, 1), at which everything is Gaussian."""

    slope: jax.Array

    def log_prior(self, z):
        return -0.5 * jnp.sum(z**2) - 0.5 * jnp.log(2 * jnp.pi)

    def log_likelihood(self, x, z):
        return -0.5 * jnp.sum((x - self.slope * z) ** 2) - 0.5 * jnp.log(2 * jnp.pi)

    def sample_prior(self, *, key):
        return jax.random.normal(key, (1,))


X = jnp.ones((1, 1))
Q = (jnp.array([-0.5]), jnp.array([0.6]))  # mean and logarithm of the scale


def gradients(objective, gradient, n, q=Q):
    """n gradients by slope, mean and log scale, shape (n, 3)."""

    def one(key):
        def total(slope, mean, log_scale):
            return bound(
                Model(slope), lambda x: FactorisedGaussian(mean, log_scale), X, key=key, objective=objective,
                gradient=gradient,
            )[0]  # fmt: skip

        return jnp.concatenate([jnp.ravel(g) for g in jax.grad(total, (0, 1, 2))(jnp.array(1.0), *q)])

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), n)))


def mean_and_error(rows):
    return rows.mean(0), rows.std(0, ddof=1) / np.sqrt(len(rows))


def exact_elbo(slope, mean, log_scale):
    """E_q[log p(x, z)] + entropy, at x = 1."""
    variance = jnp.exp(2 * log_scale)
    expected = -0.5 * (mean**2 + variance) - 0.5 * ((1 - slope * mean) ** 2 + slope**2 * variance)
    return expected + log_scale


def exact_gradient():
    return np.stack(jax.grad(exact_elbo, (0, 1, 2))(1.0, float(Q[0][0]), float(Q[1][0])))


@pytest.mark.parametrize("gradient", ["reparam", "stl", "dreg"])
def test_gradients_of_the_elbo_have_their_closed_form(gradient):
    """Within 6 standard errors in three entries: false alarm below 1e-8."""
    mean, error = mean_and_error(gradients(ELBO(), gradient, 20_000))
    assert (np.abs(mean - exact_gradient()) < 6 * error + 1e-6).all()


def test_dreg_is_the_gradient_of_iwae_with_far_less_noise():
    """Means within 6 standard errors of their difference (3 entries: 1e-8); a quarter of the noise."""
    plain, dreg = (gradients(IWAE(10), gradient, 40_000) for gradient in ("reparam", "dreg"))
    (a, of_a), (b, of_b) = mean_and_error(plain), mean_and_error(dreg)
    assert (np.abs(a - b) < 6 * np.hypot(of_a, of_b)).all()
    np.testing.assert_allclose(dreg[:, 0], plain[:, 0], rtol=1e-3, atol=1e-5)  # the model's is the same one
    assert plain[:, 1].std() / dreg[:, 1].std() > 4


def test_at_the_true_posterior_nothing_is_left():
    """q = p(z | x) = N(1/2, 1/2): no draw has a gradient in q, where "reparam" has noise."""
    q = (jnp.array([0.5]), 0.5 * jnp.log(jnp.array([0.5])))
    for objective, gradient in ((ELBO(), "stl"), (IWAE(5), "dreg")):
        assert np.abs(gradients(objective, gradient, 100, q)[:, 1:]).max() < 1e-5
    assert np.abs(gradients(ELBO(), "reparam", 100, q)[:, 1:]).max() > 0.1


def test_values_do_not_depend_on_the_gradient():
    model, key = Model(jnp.array(0.7)), jax.random.key(3)
    encoder = lambda x: FactorisedGaussian(*Q)  # noqa: E731
    x = jnp.array([[1.0], [-2.0]])
    for objective, plain in ((ELBO(4), elbo), (IWAE(4), iwae)):
        expected = plain(model, encoder, x, key=key, n_samples=4)
        for gradient in ("reparam", "stl", "dreg"):
            if gradient == "stl" and isinstance(objective, IWAE):
                continue
            found = bound(model, encoder, x, key=key, objective=objective, gradient=gradient)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    one = bound(model, encoder, x, key=key, objective=IWAE(1), gradient="stl")
    np.testing.assert_allclose(one, elbo(model, encoder, x, key=key), rtol=1e-6)


def test_the_case_that_was_computed_independently():
    """q = N(-1/2, variance e^.6), 10 weights: .0797 by the mean of q, .8 of its own noise with "dreg".

    Within 6 standard errors: of the difference, and of .0797 with an error of .001.
    """
    q = (jnp.array([-0.5]), jnp.array([0.3]))
    plain, dreg = (gradients(IWAE(10), gradient, 40_000, q)[:, 1] for gradient in ("reparam", "dreg"))
    (a, of_a), (b, of_b) = mean_and_error(plain), mean_and_error(dreg)
    assert abs(a - b) < 6 * np.hypot(of_a, of_b)
    assert abs(b - 0.0797) < 6 * np.hypot(of_b, 1e-3)
    assert b / dreg.std() == pytest.approx(0.80, abs=0.03)
    assert (b / dreg.std()) / (b / plain.std()) > 4


def test_annealing():
    """The three parts have closed forms; within 6 standard errors in four cases: false alarm below 1e-8."""
    mean, log_scale = float(Q[0][0]), float(Q[1][0])
    variance = np.exp(2 * log_scale)
    likelihood = -0.5 * np.log(2 * np.pi) - 0.5 * ((1 - mean) ** 2 + variance)
    prior = -0.5 * np.log(2 * np.pi) - 0.5 * (mean**2 + variance)
    entropy = 0.5 * np.log(2 * np.pi * np.e) + log_scale
    x = jnp.ones((20_000, 1))
    for objective, exact in (
        (ELBO(kl_weight=0.0), likelihood),
        (ELBO(kl_weight=0.5), likelihood + 0.5 * (prior + entropy)),
        (ELBO(entropy_weight=0.0), likelihood + prior),
        (ELBO(entropy_weight=0.25), likelihood + prior + 0.25 * entropy),
    ):
        found = np.asarray(
            bound(
                Model(jnp.array(1.0)),
                lambda x: FactorisedGaussian(*Q),
                x,
                key=jax.random.key(0),
                objective=objective,
            ),
            float,
        )
        assert abs(found.mean() - exact) < 6 * found.std() / np.sqrt(len(found))


class NoDensity(eqx.Module):
    mean: jax.Array

    def sample_and_log_prob(self, *, key):
        return self.mean + jax.random.normal(key, (1,)), jnp.zeros(())


class Opaque:
    def __init__(self, mean):
        self.mean = mean

    def sample_and_log_prob(self, *, key):
        return self.mean + jax.random.normal(key, (1,)), jnp.zeros(())

    def log_prob(self, z):
        return jnp.zeros(())


@pytest.mark.parametrize(
    ("posterior", "options", "message"),
    [
        (
            FactorisedGaussian(*Q),
            {"objective": IWAE(5), "gradient": "stl"},
            'biased for IWAE.5.: use .*"dreg"',
        ),
        (NoDensity(Q[0]), {"objective": ELBO(), "gradient": "stl"}, "NoDensity has no log_prob"),
        (NoDensity(Q[0]), {"objective": IWAE(5), "gradient": "dreg"}, "NoDensity has no log_prob"),
        (Opaque(Q[0]), {"objective": IWAE(5), "gradient": "dreg"}, "Opaque is not a pytree"),
        (FactorisedGaussian(*Q), {"objective": IWAE(0)}, "k of IWAE"),
        (FactorisedGaussian(*Q), {"objective": ELBO(0)}, "n_samples of ELBO"),
        (FactorisedGaussian(*Q), {"objective": ELBO(kl_weight=-0.1)}, "kl_weight of ELBO"),
        (FactorisedGaussian(*Q), {"objective": ELBO(entropy_weight=np.nan)}, "entropy_weight of ELBO"),
    ],
)
def test_refusals(posterior, options, message):
    with pytest.raises(ArgumentError, match=message):
        bound(Model(jnp.array(1.0)), lambda x: posterior, X, key=jax.random.key(0), **options)
