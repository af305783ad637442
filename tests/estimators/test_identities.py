"""What the estimators are of each other, exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.estimators import (
    ARM,
    LAX,
    REBAR,
    RELAX,
    DisARM,
    LeaveOneOut,
    MovingAverage,
    OneHotCategorical,
    ReinMax,
    Reparameterisation,
    ScoreFunction,
    StraightThrough,
    expect,
)
from backthrough.estimators.families import BernoulliFamily
from estimators.problems import LOGITS, draws, exact, flat, quadratic, z_scores

KEY = jax.random.key(0)
POINT = jnp.asarray(LOGITS, jnp.result_type(float))
CONTROL = eqx.nn.MLP(4, "scalar", 5, 1, activation=jnp.tanh, key=jax.random.key(9))


class Scaled(eqx.Module):
    """A control variate c(z) = scale * function(z)."""

    scale: jax.Array
    function: object = eqx.field(static=True)

    def __call__(self, z):
        return self.scale * self.function(z)


@eqx.filter_jit
def gradient(estimator, key=KEY, f=quadratic, logits=POINT, n_samples=1):
    def mean(logits):
        d = dist.Bernoulli(logits=logits)
        return expect(f, d, key=key, estimator=estimator, n_samples=n_samples)

    return jax.grad(mean)(logits)


@eqx.filter_jit
def normal_gradient(estimator, n_samples=3):
    def mean(params):
        d = dist.Normal(params[0], params[1])
        return expect(lambda b: jnp.sum(b**3), d, key=KEY, estimator=estimator, n_samples=n_samples)

    return jax.grad(mean)(jnp.array([[0.7, -0.2], [1.3, 0.4]]))


def test_lax_with_nothing_and_with_f():
    """c = 0 is the score function, c = f the reparameterisation gradient, with the same noise."""
    nothing = LAX(Scaled(jnp.asarray(0.0), lambda z: jnp.sum(z)))
    np.testing.assert_allclose(normal_gradient(nothing), normal_gradient(ScoreFunction()), rtol=1e-6)
    itself = LAX(Scaled(jnp.asarray(1.0), lambda z: jnp.sum(z**3)))
    expected = normal_gradient(Reparameterisation())
    np.testing.assert_allclose(normal_gradient(itself), expected, rtol=1e-4, atol=1e-5)


def test_relax_with_nothing_is_the_score_function():
    """f(b) grad log p(b) of the very sample that its value belongs to."""
    nothing = RELAX(Scaled(jnp.asarray(0.0), lambda z: jnp.sum(z)))

    @jax.jit
    def sample(key):
        """The sample itself: the gradient of w . b with respect to w."""

        def mean(w):
            return expect(lambda b: b @ w, dist.Bernoulli(logits=POINT), key=key, estimator=nothing)

        return jax.grad(mean)(jnp.zeros(4))

    for key in jax.random.split(KEY, 3):
        b = sample(key)
        assert ((b == 0) | (b == 1)).all()
        expected = float(jax.jit(quadratic)(b)) * np.asarray(b - jax.nn.sigmoid(POINT))
        np.testing.assert_allclose(gradient(nothing, key), expected, rtol=1e-5)


@pytest.mark.parametrize("coupled", [False, True])
def test_rebar_is_relax_with_a_relaxed_f(coupled):
    relaxed = Scaled(jnp.asarray(0.8), lambda z: quadratic(jax.nn.sigmoid(z / 0.6)))
    ours = gradient(RELAX(relaxed, coupled=coupled))
    np.testing.assert_allclose(ours, gradient(REBAR(0.6, 0.8, coupled=coupled)), rtol=1e-5, atol=1e-6)
    zero = Scaled(jnp.asarray(0.0), lambda z: jnp.sum(z))
    with_f = gradient(RELAX(zero, temperature=0.6, scale=0.8, coupled=coupled))
    np.testing.assert_allclose(ours, with_f, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_mean_does_not_depend_on_the_control_variate():
    """Two control variates, independent draws: 4 comparisons within 6 standard errors."""
    one = draws("bernoulli", RELAX(CONTROL), 1, 50_000, seed=2)
    louder = jax.tree_util.tree_map(lambda leaf: 2 * leaf if eqx.is_array(leaf) else leaf, CONTROL)
    two = draws("bernoulli", RELAX(louder), 1, 50_000, seed=3)
    assert one.var(0).sum() != pytest.approx(two.var(0).sum(), rel=0.05)
    error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two))
    assert np.abs((one.mean(0) - two.mean(0)) / error).max() < 6


def test_control_gradients_are_those_of_the_variance():
    """The mean of the single-sample gradients against differences of the second moment, same draws.

    With the noise held the same the two agree to the accuracy of the differences, for every leaf.
    """
    control = RELAX(CONTROL, temperature=0.7)
    arrays, rest = eqx.partition(control, eqx.is_inexact_array)
    keys = jax.random.split(KEY, 512)

    @jax.jit
    def ours(arrays):
        def mean(arrays, key):
            d = dist.Bernoulli(logits=POINT)
            return expect(quadratic, d, key=key, estimator=eqx.combine(arrays, rest))

        return jax.tree_util.tree_map(
            lambda leaf: leaf.mean(0), jax.vmap(jax.grad(mean), (None, 0))(arrays, keys)
        )

    @jax.jit
    def moment(arrays):
        estimator = eqx.combine(arrays, rest)
        return jnp.mean(jnp.sum(jax.vmap(lambda key: gradient(estimator, key))(keys) ** 2, axis=1))

    slopes = ours(arrays)
    leaves, structure = jax.tree_util.tree_flatten(arrays)
    double = jax.config.read("jax_enable_x64")
    step, tolerance = (1e-5, 1e-6) if double else (1e-2, 1e-2)
    for index, leaf in enumerate(leaves):
        direction = jax.random.normal(jax.random.key(index), leaf.shape)
        moved = [
            jax.tree_util.tree_unflatten(
                structure, [*leaves[:index], leaf + s * direction, *leaves[index + 1 :]]
            )
            for s in (step, -step)
        ]
        expected = (moment(moved[0]) - moment(moved[1])) / (2 * step)
        found = jnp.sum(jax.tree_util.tree_leaves(slopes)[index] * direction)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_control_gradients_have_the_square_of_the_weight():
    """Of either sign: who maximises still lowers the variance."""

    @jax.jit
    def to_scale(weight):
        def mean(estimator):
            return weight * expect(quadratic, dist.Bernoulli(logits=POINT), key=KEY, estimator=estimator)

        return jax.grad(mean)(REBAR()).scale

    np.testing.assert_allclose(to_scale(-3.0), 9 * to_scale(1.0), rtol=1e-5)


@pytest.mark.slow
def test_training_the_scale_lowers_the_variance():
    @jax.jit
    def step(estimator, key):
        def mean(estimator, key):
            return expect(quadratic, dist.Bernoulli(logits=POINT), key=key, estimator=estimator)

        slopes = jax.vmap(jax.grad(mean), (None, 0))(estimator, jax.random.split(key, 64))
        return jax.tree_util.tree_map(lambda leaf, slope: leaf - 0.02 * slope.mean(0), estimator, slopes)

    estimator = start = REBAR(temperature=0.2, scale=0.1)
    for key in jax.random.split(KEY, 100):
        estimator = step(estimator, key)
    before, after = (draws("bernoulli", own, 1, 20_000).var(0).sum() for own in (start, estimator))
    assert after < 0.5 * before


@pytest.mark.slow
def test_the_variance_of_a_mean_falls_as_one_over_n():
    one = draws("bernoulli", REBAR(), 1, 40_000).var(0).sum()
    eight = draws("bernoulli", REBAR(), 8, 40_000).var(0).sum()
    assert eight * 8 == pytest.approx(one, rel=0.06)  # relative errors of both near 1 %


def test_disarm_is_the_mean_of_arm_given_the_pair():
    """The same noise gives both the same pair: ARM - DisARM has mean zero given DisARM, and variances add."""
    arm, disarm = (draws("bernoulli", own, 2, 100_000) for own in (ARM(), DisARM()))
    difference = arm - disarm
    assert np.abs(z_scores(difference, 0)).max() < 6
    for i in range(4):
        # by the value of DisARM, which is a function of the pair
        for value in np.unique(disarm[:, i].round(4))[:6]:
            part = difference[np.abs(disarm[:, i] - value) < 1e-3]
            if len(part) > 500:
                assert np.abs(z_scores(part, 0)).max() < 6
    assert arm.var(0).sum() == pytest.approx(disarm.var(0).sum() + difference.var(0).sum(), rel=0.02)


def test_leave_one_out_is_vargrad():
    """The gradient of half the sample variance of log q - log p equals it, for f = log q - log p."""

    def log_q(logits, b):
        return jnp.sum(b * logits - jax.nn.softplus(logits))

    def f(b):
        return log_q(jax.lax.stop_gradient(POINT), b) - quadratic(b)

    for n in (2, 5):
        ours = gradient(LeaveOneOut(), f=f, n_samples=n)
        draw = jax.vmap(lambda key: jnp.asarray(POINT + _noise(key) > 0, POINT.dtype))
        samples = jax.jit(draw)(jax.random.split(KEY, n))

        def half_variance(logits):
            ratios = jax.vmap(lambda b: log_q(logits, b) - quadratic(b))(samples)  # noqa: B023
            return 0.5 * jnp.var(ratios, ddof=1)

        np.testing.assert_allclose(ours, jax.jit(jax.grad(half_variance))(POINT), rtol=1e-4, atol=1e-6)


def _noise(key):
    """The noise that `expect` draws for one Bernoulli array, from the key of one sample."""
    return BernoulliFamily().noise(POINT, key=key)


def test_reinmax_is_the_formula_of_its_authors():
    """reinmax 0.1 (PyPI): the backward pass, written in NumPy, for a given one-hot sample."""
    logits = np.array([[0.3, -0.7, 1.1], [0.0, 2.0, -1.0]])
    weight = np.array([[1.0, -2.0, 0.5], [0.3, 0.1, -0.7]])

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    def through(p, g):
        return p * g - p * (p * g).sum(-1, keepdims=True)

    for temperature in (1.0, 1.7):

        def mean(logits, weight):
            f = lambda b: jnp.sum(b * weight)  # noqa: E731
            d = OneHotCategorical(logits=logits)
            return expect(f, d, key=KEY, estimator=ReinMax(temperature))  # noqa: B023

        ours, sample = jax.jit(jax.grad(mean, (0, 1)))(jnp.asarray(logits), jnp.asarray(weight))
        sample = np.asarray(sample)
        assert ((sample == 0) | (sample == 1)).all()
        shifted = 0.5 * (softmax(logits / temperature) + sample)
        expected = through(shifted, 2 * weight) + through(softmax(logits), -0.5 * weight)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_reinmax_of_two_categories_is_that_of_a_bernoulli():
    ours = jax.vmap(lambda key: gradient(ReinMax(), key))(jax.random.split(KEY, 20_000))

    def other(key):
        def mean(logits):
            padded = jnp.stack([logits, jnp.zeros_like(logits)], axis=-1)
            d = OneHotCategorical(logits=padded)
            return expect(lambda b: quadratic(b[:, 0]), d, key=key, estimator=ReinMax())

        return jax.grad(mean)(POINT)

    theirs = jax.vmap(other)(jax.random.split(jax.random.key(7), 20_000))
    error = np.sqrt((flat(ours).var(0) + flat(theirs).var(0)) / 20_000)
    assert np.abs((flat(ours).mean(0) - flat(theirs).mean(0)) / error).max() < 6


def test_straight_through_of_a_linear_f_is_exact():
    weight = jnp.array([1.0, -2.0, 0.5, 3.0])
    p = jax.nn.sigmoid(POINT)
    ours = gradient(StraightThrough(), f=lambda b: b @ weight)
    np.testing.assert_allclose(ours, weight * p * (1 - p), rtol=1e-5)


def test_a_moving_average_lowers_the_variance_and_stays_unbiased():
    baseline = MovingAverage(0.9)
    for value in (1.0, 3.0, 2.0):
        baseline = baseline.update(jnp.asarray(value))
    weights = 0.1 * 0.9 ** np.arange(3)[::-1]
    assert float(baseline()) == pytest.approx(weights @ [1.0, 3.0, 2.0] / weights.sum(), rel=1e-5)
    with_baseline = draws("bernoulli", ScoreFunction(baseline), 1, 50_000)
    assert np.abs(z_scores(with_baseline, exact("bernoulli"))).max() < 6
    assert with_baseline.var(0).sum() < 0.5 * draws("bernoulli", ScoreFunction(), 1, 50_000).var(0).sum()
    bits = dist.Bernoulli(logits=POINT)
    trained = eqx.filter_jit(jax.grad(lambda own: expect(quadratic, bits, key=KEY, estimator=own)))
    slopes = trained(ScoreFunction(baseline))
    assert all(float(leaf) == 0 for leaf in jax.tree_util.tree_leaves(slopes))
