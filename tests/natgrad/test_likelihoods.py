"""Likelihoods and predictive distributions against closed forms and other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions
from scipy import integrate, optimize, stats

from backthrough.core import ArgumentError, DataError
from backthrough.natgrad import (
    Bernoulli,
    Categorical,
    ClassPredictive,
    FixedNoise,
    GammaNoise,
    GammaPosterior,
    Gaussian,
    GaussianPredictive,
)

KEY = jax.random.key(0)
CASES = {
    "gaussian": (Gaussian(FixedNoise((0.5, 2.0)), 2), jnp.array([0.3, -1.0]), jnp.array([1.0, 0.2])),
    "bernoulli": (Bernoulli(), jnp.array([0.7]), jnp.array(1)),
    "categorical": (Categorical(3), jnp.array([0.3, -1.0, 0.5]), jnp.array(2)),
}


@pytest.mark.parametrize("name", CASES)
def test_log_probabilities_are_numpyros(name):
    likelihood, outputs, y = CASES[name]
    wanted = {
        "gaussian": lambda: distributions.Normal(outputs, jnp.array([0.5, 2.0])).log_prob(y).sum(),
        "bernoulli": lambda: distributions.Bernoulli(logits=outputs[0]).log_prob(y),
        "categorical": lambda: distributions.Categorical(logits=outputs).log_prob(y),
    }[name]()
    np.testing.assert_allclose(likelihood.log_prob(outputs, y, likelihood.init()), wanted, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_fisher_factors_make_minus_the_expected_hessian(name):
    likelihood, outputs, y = CASES[name]
    parameters = likelihood.init()
    factors = likelihood.fisher_factors(outputs, parameters)
    hessian = jax.hessian(likelihood.log_prob)(outputs, y, parameters)  # the same for every y here
    np.testing.assert_allclose(factors.T @ factors, -hessian, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_certain_classes_have_finite_numbers(logit):
    for likelihood, outputs in ((Bernoulli(), jnp.array([logit])), (Categorical(2), jnp.array([0.0, logit]))):
        for y in (0, 1):
            value, gradient = jax.value_and_grad(likelihood.log_prob)(outputs, jnp.array(y), ())
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()
        assert np.isfinite(likelihood.fisher_factors(outputs, ())).all()


def test_a_step_of_size_one_on_all_data_is_the_conjugate_posterior():
    noise = GammaNoise(3.0, 2.0, step_size=1.0)
    likelihood = Gaussian(noise)
    y = jax.random.normal(KEY, (50, 1))
    q = likelihood.learn(likelihood.init(), jnp.zeros((1, 50, 1)), y, n_data=50, kl_weight=1.0)
    np.testing.assert_allclose(q.shape, 3 + 25)
    np.testing.assert_allclose(q.rate, 2 + 0.5 * jnp.sum(y**2), rtol=1e-6)


def test_minibatches_reach_the_noise_of_each_output():
    """Rates of the two precisions apart, and the mean of both together; steps average to about 1 %."""
    scales = jnp.array([0.5, 2.0])
    for per_output in (True, False):
        likelihood = Gaussian(GammaNoise(1.0, 0.02, step_size=0.02, per_output=per_output), 2)

        def step(state, key, likelihood=likelihood):
            y = scales * jax.random.normal(key, (64, 2))
            return likelihood.learn(state, jnp.zeros((1, 64, 2)), y, n_data=10_000, kl_weight=1.0), None

        state, _ = jax.lax.scan(step, likelihood.init(), jax.random.split(KEY, 1000))
        found = state.rate / state.shape
        wanted = scales**2 if per_output else jnp.mean(scales**2)[None]
        np.testing.assert_allclose(found, wanted, rtol=0.12)  # 6 standard errors: .02 sqrt(...)
        assert likelihood.draw(state, key=KEY).shape == (2,)


def test_the_divergence_of_gamma_distributions_is_that_by_quadrature():
    likelihood = Gaussian(GammaNoise(3.0, 2.0))
    q, p = stats.gamma(7.0, scale=1 / 5.0), stats.gamma(3.0, scale=1 / 2.0)
    wanted, _ = integrate.quad(lambda t: q.pdf(t) * (q.logpdf(t) - p.logpdf(t)), 0, 20)
    found = likelihood.kl(GammaPosterior(jnp.array([7.0]), jnp.array([5.0])))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


MIXTURE = GaussianPredictive(
    jnp.array([[[0.0, 1.0], [50.0, -3.0]], [[2.0, 1.5], [-50.0, -3.0]]]), jnp.array([[0.5, 1.0], [1.0, 0.1]])
)


def test_a_mixtures_moments_density_and_quantiles():
    parts = [[stats.norm(MIXTURE.means[s, :, k], MIXTURE.scales[s, k]) for k in range(2)] for s in range(2)]
    y = np.array([[0.5, 1.2], [49.0, -3.1]])
    density = [sum(parts[s][k].logpdf(y[:, k]) for k in range(2)) for s in range(2)]
    np.testing.assert_allclose(
        MIXTURE.log_prob(jnp.asarray(y, jnp.float32)), np.logaddexp(*density) - np.log(2), rtol=1e-5
    )
    second = np.mean([[part.mean() ** 2 + part.var() for part in own] for own in parts], axis=0).T
    np.testing.assert_allclose(MIXTURE.variance, second - np.asarray(MIXTURE.mean) ** 2, rtol=1e-4)
    np.testing.assert_allclose(MIXTURE.variance, MIXTURE.epistemic + MIXTURE.aleatoric, rtol=1e-6)
    for level in (1e-4, 0.05, 0.3, 0.95):
        found = np.asarray(MIXTURE.quantile(level))
        for row in range(2):
            for k in range(2):
                at = optimize.brentq(
                    lambda t, row=row, k=k, level=level: (
                        np.mean([own[k].cdf(t)[row] for own in parts]) - level
                    ),
                    -80,
                    80,
                )
                np.testing.assert_allclose(found[row, k], at, atol=2e-4)
        np.testing.assert_allclose(MIXTURE.cdf(MIXTURE.quantile(level)), level, rtol=2e-3)


def test_quantiles_have_the_derivative_of_the_implicit_function():
    def at(theta):
        means = jnp.array([[[0.0]], [[3.0]]]) * theta[1]
        return GaussianPredictive(means, jnp.ones((2, 1)) * theta[0]).quantile(0.3)[0, 0]

    theta, step = jnp.array([1.0, 1.0]), 1e-2
    for direction in jnp.eye(2):
        difference = (at(theta + step * direction) - at(theta - step * direction)) / (2 * step)
        np.testing.assert_allclose(jax.grad(at)(theta) @ direction, difference, rtol=5e-3)


def test_what_is_no_class_has_no_probability():
    """Inside jit it cannot be refused: NaN, never a number that looks right."""
    p = ClassPredictive(jax.nn.log_softmax(jnp.zeros((1, 4, 3))))
    np.testing.assert_array_equal(np.isnan(p.log_prob(jnp.array([0, 2, 3, -1]))), [False, False, True, True])
    for y in (-1, 3):
        assert np.isnan(Categorical(3).log_prob(jnp.zeros(3), jnp.array(y), ()))
    assert np.isnan(Bernoulli().log_prob(jnp.zeros(1), jnp.array(2), ()))


def test_between_modes_far_apart_a_quantile_has_a_value():
    """The density there is 0 in single precision, and so the derivative is none."""
    middle = MIXTURE.quantile(0.5)
    assert np.isfinite(middle).all()
    assert -50 < middle[1, 0] < 50
    many = jax.vmap(MIXTURE.quantile)(jnp.array([0.05, 0.95]))
    np.testing.assert_allclose(many[0], MIXTURE.quantile(0.05), rtol=1e-5)


def test_draws_of_targets_have_the_variance_of_the_mixture():
    """Of 20,000, within 6.5 standard errors of a variance with the mixture's fourth moment (below 4)."""
    p = GaussianPredictive(MIXTURE.means[:, :1], MIXTURE.scales)
    draws = p.sample(20_000, key=KEY)
    assert draws.shape == (20_000, 1, 2)
    np.testing.assert_allclose(draws.mean(0), p.mean, atol=6.5 * float(p.std.max()) / 20_000**0.5)
    np.testing.assert_allclose(draws.var(0), p.variance, rtol=6.5 * 2 / 20_000**0.5)


def test_classes_average_probabilities_and_split_their_uncertainty():
    logits = jnp.array([[[2.0, -2.0], [0.0, 0.0]], [[-2.0, 2.0], [0.0, 0.0]]])
    p = ClassPredictive(jax.nn.log_softmax(logits))
    np.testing.assert_allclose(p.mean, 0.5, rtol=1e-6)
    np.testing.assert_allclose(p.entropy, np.log(2), rtol=1e-6)
    sure = stats.entropy(np.asarray(jax.nn.softmax(logits[0, 0])))
    np.testing.assert_allclose(p.aleatoric, [sure, np.log(2)], rtol=1e-5)
    np.testing.assert_allclose(p.epistemic, [np.log(2) - sure, 0], atol=1e-6)
    np.testing.assert_allclose(p.log_prob(jnp.array([0, 1])), np.log(0.5), rtol=1e-6)
    counts = p.sample(4000, key=KEY).mean(0)
    np.testing.assert_allclose(counts, 0.5, atol=6.5 * 0.5 / 4000**0.5)
    certain = ClassPredictive(jnp.array([[[0.0, -jnp.inf]]]))
    np.testing.assert_allclose((certain.entropy, certain.aleatoric, certain.epistemic), 0, atol=0)


def test_wrong_shapes_and_targets_are_refused():
    gaussian, two = Gaussian(), Gaussian(n_outputs=2)
    assert gaussian.check_targets([1, 2, 3]).shape == (3, 1)
    with pytest.raises(ArgumentError, match=r"shape \(row, 2\), got \(3,\)"):
        two.check_targets([1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="target 0 of row 1 is nan"):
        gaussian.check_targets([1.0, np.nan])
    with pytest.raises(DataError, match="must be numbers"):
        gaussian.check_targets(["a", "b"])
    with pytest.raises(DataError, match="class of row 2 is 3; it must be a whole number from 0 to 2"):
        Categorical(3).check_targets([0, 1, 3])
    with pytest.raises(DataError, match="class of row 0 is 0.5"):
        Bernoulli().check_targets([0.5, 1.0])
    with pytest.raises(ArgumentError, match="scale must be finite and greater than zero"):
        FixedNoise(0.0)
    with pytest.raises(ArgumentError, match="2 noise scales and 3 outputs"):
        Gaussian(FixedNoise((1.0, 2.0)), 3)
    with pytest.raises(ArgumentError, match="step_size must be at most 1"):
        GammaNoise(step_size=2.0)
    with pytest.raises(ArgumentError, match="level must lie between 0 and 1"):
        MIXTURE.interval(1.0)
    with pytest.raises(ArgumentError, match=r"predictions have shape \(2, 2\) and targets \(1, 2\)"):
        MIXTURE.cdf(jnp.zeros((1, 2)))
