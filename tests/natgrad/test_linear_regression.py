"""Every family on Bayesian linear regression, whose posterior is known in closed form."""

import jax
import numpy as np
import optax
import pytest

from backthrough.natgrad import NoisyFull, fit_weights, noisy_adam, noisy_ekfac, noisy_full, noisy_kfac
from oracles.linear_regression import (
    LIKELIHOOD,
    MEAN,
    MODEL,
    N_DATA,
    NOISE,
    PRECISION,
    PRIOR_VAR,
    WITH_ONE,
    X,
    Y,
    as_vector,
    covariance_of,
    divergence,
    factored,
    found_by,
)


def test_the_full_covariance_is_the_posterior():
    q = found_by(noisy_full)
    exact = np.linalg.inv(PRECISION)
    assert np.linalg.norm(covariance_of(q) - exact) < 1e-4 * np.linalg.norm(exact)
    assert np.linalg.norm(as_vector(q.mean) - MEAN) < 1e-4 * np.linalg.norm(MEAN)


def test_noisy_adam_has_the_best_factorised_variances():
    q = found_by(noisy_adam, steps=3000)
    variance = as_vector(q.variance())
    np.testing.assert_allclose(variance, 1 / np.diag(PRECISION), rtol=1e-4)
    assert np.linalg.norm(as_vector(q.mean) - MEAN) < 1e-3 * np.linalg.norm(MEAN)


@pytest.mark.parametrize("make", [noisy_kfac, noisy_ekfac])
def test_with_exact_damping_one_layer_is_exact(make):
    options = {"damping_style": "exact"} if make is noisy_kfac else {"refresh_every": 7}
    q = found_by(make, **options)
    assert divergence(as_vector(q.mean), covariance_of(q)) < 1e-5


def test_factored_damping_is_its_formula():
    """U = sqrt(1/N) (A + pi sqrt(g) I)^-1, V likewise: not the posterior, by .06 nats here."""
    q = found_by(noisy_kfac, damping_style="factored")
    expected = factored()
    np.testing.assert_allclose(covariance_of(q), expected, rtol=1e-3, atol=1e-6)
    assert divergence(MEAN, expected) > 0.05


@pytest.mark.slow
def test_a_small_kl_weight_narrows_the_posterior():
    """Sigma^-1 = (N / lambda) F + 1 / prior_var, so a tempered likelihood."""
    q = found_by(noisy_full, kl_weight=0.1)
    precision = WITH_ONE.T @ WITH_ONE / NOISE**2 / 0.1 + np.eye(len(MEAN)) / PRIOR_VAR
    np.testing.assert_allclose(covariance_of(q), np.linalg.inv(precision), rtol=2e-3, atol=1e-7)


@pytest.mark.slow
def test_twice_the_data_have_half_the_variance_beside_the_prior():
    q = found_by(noisy_full)
    doubled = [np.concatenate([own, own]) for own in (WITH_ONE, Y[:, 0])]
    fisher = doubled[0].T @ doubled[0] / NOISE**2 / (2 * N_DATA)
    (precision,) = q.precision_blocks().values()
    np.testing.assert_allclose(
        precision, N_DATA * fisher + np.eye(len(MEAN)) / PRIOR_VAR, rtol=1e-4, atol=2e-2
    )


WRAPPINGS = {
    "chain": lambda t: optax.chain(optax.clip_by_global_norm(1e6), t),
    "MultiSteps": lambda t: optax.MultiSteps(t, 2).gradient_transformation(),
    "masked by label": lambda t: optax.multi_transform({"noisy": t}, "noisy"),
}


@pytest.mark.parametrize("name", WRAPPINGS)
@pytest.mark.slow
def test_what_optax_wraps_around_it_changes_nothing(name):
    steps = 600 if name == "MultiSteps" else 300
    q = found_by(noisy_full, wrap=WRAPPINGS[name], steps=steps)
    assert divergence(as_vector(q.mean), covariance_of(q)) < 1e-5


@pytest.mark.slow
def test_hyperparameters_can_be_injected():
    def make(blocks, **settings):
        return optax.inject_hyperparams(noisy_kfac, static_args=("damping_style",))(
            blocks, damping_style="exact", **settings
        )

    q = found_by(make)
    assert divergence(as_vector(q.mean), covariance_of(q)) < 1e-5


@pytest.mark.slow
def test_training_on_draws_and_minibatches_finds_it_too():
    """The mean within 5 standard deviations of the posterior: the noise of the last steps is far below 1."""
    fitted = fit_weights(
        MODEL,
        LIKELIHOOD,
        X,
        Y,
        method=NoisyFull(learning_rate=0.05, decay=0.995),
        prior_var=PRIOR_VAR,
        n_epochs=200,
        batch_size=20,
        key=jax.random.key(1),
    )
    q = fitted.weights
    off = (as_vector(q.mean) - MEAN) / np.sqrt(np.diag(np.linalg.inv(PRECISION)))
    assert np.abs(off).max() < 1
    assert divergence(MEAN, covariance_of(q)) < 0.05
