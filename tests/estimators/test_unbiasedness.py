"""Every estimator on every family against enumeration and closed forms.

|z| > 6 rejects: 2e-9 a comparison, and there are some 300. Stated variances and biases are those of an
independent implementation.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.estimators import (
    ARM,
    LAX,
    REBAR,
    RELAX,
    Concrete,
    DisARM,
    Enumeration,
    LeaveOneOut,
    ReinMax,
    Reparameterisation,
    ScoreFunction,
    StraightThrough,
    StraightThroughGumbel,
    expect,
)
from estimators.problems import PROBLEMS, constant, draws, exact, flat, takes, z_scores

N = 100_000


class Bent(eqx.Module):
    """A control variate with curvature, for samples of any structure."""

    scale: jax.Array

    def __call__(self, z):
        leaves = [jnp.ravel(leaf) for leaf in jax.tree_util.tree_leaves(z)]
        return self.scale * jnp.sum(jnp.tanh(jnp.concatenate(leaves)) ** 2 + 0.3 * jnp.concatenate(leaves))


def bent():
    return Bent(jnp.asarray(0.4))


UNBIASED = {
    "score": (lambda: ScoreFunction(), 1, {"bernoulli": 3.56}),
    "score with baseline": (lambda: ScoreFunction(constant()), 2, {}),
    "leave one out": (lambda: LeaveOneOut(), 2, {"bernoulli": 0.384}),
    "leave one out of 5": (lambda: LeaveOneOut(), 5, {}),
    "RELAX": (lambda: RELAX(bent()), 1, {}),
    "RELAX coupled": (lambda: RELAX(bent(), coupled=True), 1, {}),
    "RELAX with f": (lambda: RELAX(bent(), temperature=0.7, scale=0.8), 1, {}),
    "REBAR": (lambda: REBAR(), 1, {"bernoulli": 0.320}),
    "REBAR coupled": (lambda: REBAR(coupled=True), 2, {}),
    "ARM": (lambda: ARM(), 2, {"bernoulli": 0.392}),
    "DisARM": (lambda: DisARM(), 2, {"bernoulli": 0.312}),
    "DisARM of 4": (lambda: DisARM(), 4, {"bernoulli": 0.156}),
    "LAX": (lambda: LAX(bent()), 1, {}),
    "reparameterisation": (lambda: Reparameterisation(), 1, {}),
}
QUICK = {"bernoulli", "normal"}
ALSO_QUICK = {("REBAR coupled", "one-hot"), ("RELAX with f", "mixture"), ("RELAX", "index")}
CASES = [
    pytest.param(
        name, problem, marks=[] if problem in QUICK or (name, problem) in ALSO_QUICK else [pytest.mark.slow]
    )
    for name, (make, _, _) in UNBIASED.items()
    for problem in PROBLEMS
    if takes(make(), problem)
]


@pytest.mark.parametrize(("name", "problem"), CASES)
def test_unbiased(name, problem):
    make, n_samples, variances = UNBIASED[name]
    estimator = make()
    assert estimator.properties.unbiased
    sample = draws(problem, estimator, n_samples, N)
    assert np.abs(z_scores(sample, exact(problem))).max() < 6
    if problem in variances:
        assert sample.var(0).sum() == pytest.approx(variances[problem], rel=0.1)


def test_variances_of_the_gaussian_square():
    """Per coordinate, of loc and of log scale: c = 0 and c = f."""
    np.testing.assert_allclose(draws("normal", ScoreFunction(), 1, N).var(0), [32.2, 257], rtol=0.1)
    np.testing.assert_allclose(draws("normal", Reparameterisation(), 1, N).var(0), [6.75, 26.1], rtol=0.1)


@pytest.mark.parametrize(
    ("estimator", "relative_bias"),
    [
        (Concrete(0.5), 0.21),
        (StraightThrough(), 0.36),
        (StraightThroughGumbel(1.0), 0.39),
        (ReinMax(), 0.076),
    ],
)
def test_biased_ones_are_seen_as_biased(estimator, relative_bias):
    assert not estimator.properties.unbiased
    sample, truth = draws("bernoulli", estimator, 1, N), exact("bernoulli")
    assert np.abs(z_scores(sample, truth)).max() > 12
    bias = np.linalg.norm(sample.mean(0) - truth) / np.linalg.norm(truth)
    assert bias == pytest.approx(relative_bias, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [Concrete(0.5), StraightThrough(), StraightThroughGumbel(1.0), ReinMax()]
)
def test_biased_ones_are_seen_as_biased_on_one_hot_vectors(estimator):
    sample = draws("one-hot", estimator, 1, N)
    assert np.abs(z_scores(sample, exact("one-hot"))).max() > 12


@pytest.mark.parametrize("problem", ["bernoulli", "one-hot", "index"])
def test_enumeration_is_exact(problem):
    sample = draws(problem, Enumeration(), 1, 2)
    np.testing.assert_allclose(sample[0], exact(problem), rtol=1e-4, atol=1e-6)


def test_the_oracle_is_the_published_one():
    np.testing.assert_allclose(exact("bernoulli"), [0.26004, 0.02653, -0.01012, -0.13534], atol=1e-5)


def test_normal_variables_beside_relaxed_ones_are_reparameterised():
    """The Normal part of a straight-through sample is exact when the discrete part is constant."""
    f, distribution, params = PROBLEMS["mixture"]
    params = {"on": jnp.array([30.0, -30.0]), "x": jnp.asarray(params["x"], jnp.result_type(float))}

    def one(key, estimator):
        return jax.grad(lambda p: expect(f, distribution(p), key=key, estimator=estimator))(params)["x"]

    keys = jax.random.split(jax.random.key(0), 20_000)
    for estimator in (StraightThrough(), ReinMax(), Concrete(0.5)):
        sample = flat(jax.jit(jax.vmap(lambda key: one(key, estimator)))(keys))  # noqa: B023
        assert np.abs(z_scores(sample, [2 * 0.7, 2 * 1.3**2])).max() < 6
