"""A family and an estimator from outside the package, against closed forms."""

import inspect
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.scipy.special import gammaln

from backthrough.core import ArgumentError
from backthrough.estimators import (
    DiCE,
    DisARM,
    Enumeration,
    Estimator,
    Family,
    LeaveOneOut,
    MeasureValued,
    NormalFamily,
    Properties,
    Reparameterisation,
    ReparameterisedFamily,
    ScoreFunction,
    WeakDerivativeFamily,
    attach,
    compare,
    expect,
    register_family,
    relaxation_noise,
    sample_keys,
    scaled,
    suitable_estimators,
    vimco,
)
from backthrough.estimators.families import read_distribution
from estimators.problems import flat, z_scores

KEY = jax.random.key(0)
RATES = np.array([0.7, 2.5])
N = 5_000


class PoissonFamily(WeakDerivativeFamily):
    """The parameters are the rates."""

    name: ClassVar[str] = "Poisson"

    def read(self, distribution):
        return distribution.rate

    def sample(self, params, *, key):
        return jax.random.poisson(key, params).astype(params.dtype)

    def log_prob(self, params, b):
        return jnp.sum(b * jnp.log(params) - params - gammaln(b + 1))

    def weak_derivative(self, params, *, key):
        """d Poisson(r) / d r is that of one more less itself."""
        b = self.sample(params, key=key)
        return jnp.ones_like(params), b + 1, b


class LaplaceFamily(ReparameterisedFamily):
    """loc + scale * noise."""

    name: ClassVar[str] = "Laplace"

    def read(self, distribution):
        return distribution.loc, distribution.scale

    def sample(self, params, *, key):
        return self.relax(params, self.noise(params, key=key))

    def log_prob(self, params, b):
        loc, scale = params
        return -jnp.sum(jnp.abs(b - loc) / scale + jnp.log(2 * scale))

    def noise(self, params, *, key):
        return jax.random.laplace(key, params[0].shape, params[0].dtype)

    def relax(self, params, noise):
        return params[0] + params[1] * noise


class TwiceTheScore(Estimator):
    """Score function with the mean of two further samples as its baseline."""

    @property
    def properties(self):
        return Properties(unbiased=True, families=(Family,))

    def estimate(self, problem, *, key, n_samples):
        params = problem.fixed_params()

        def draw(key):
            own, *others = [problem.joint.sample(params, key=k) for k in jax.random.split(key, 3)]
            value = problem.value(own)
            baseline = sum(problem.value(b) for b in others) / 2
            advantage = jax.lax.stop_gradient(value - baseline)
            return value, scaled(advantage, problem.joint.score(params, own))

        values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem, n_samples):
        return 3 * n_samples


@pytest.fixture(autouse=True, scope="module")
def registered():
    register_family(dist.Poisson, PoissonFamily())
    register_family(dist.Laplace, LaplaceFamily())


def f(b):
    """E = r0 + r0^2 + r0 r1."""
    return b[0] ** 2 + b[0] * b[1]


CLOSED_FORM = np.array([1 + 2 * RATES[0] + RATES[1], RATES[0]])


@pytest.mark.parametrize(
    ("estimator", "n_samples"),
    [(ScoreFunction(), 1), (LeaveOneOut(), 3), (MeasureValued(), 1), (DiCE(), 1), (TwiceTheScore(), 2)],
    ids=lambda own: type(own).__name__,
)
def test_a_family_of_ones_own(estimator, n_samples):
    """Two entries within 6 standard errors: a false alarm in 4e-9 for each of five estimators."""

    def mean(rates, key):
        return expect(f, dist.Poisson(rates), key=key, estimator=estimator, n_samples=n_samples)

    gradients = jax.jit(jax.vmap(jax.grad(mean), (None, 0)))
    found = gradients(jnp.asarray(RATES, jnp.result_type(float)), jax.random.split(KEY, N))
    assert np.abs(z_scores(flat(found), CLOSED_FORM)).max() < 6


def test_beside_other_families():
    """E of b x with b Poisson and x Normal: r m, on r and on m; two entries within 6 standard errors."""

    def mean(params, key):
        both = {"b": dist.Poisson(params[0]), "x": dist.Normal(params[1], 1.0)}
        return expect(lambda s: s["b"] * s["x"], both, key=key, estimator=MeasureValued())

    params = jnp.array([1.5, -0.6])
    found = jax.jit(jax.vmap(jax.grad(mean), (None, 0)))(params, jax.random.split(KEY, N))
    assert np.abs(z_scores(flat(found), np.array([-0.6, 1.5]))).max() < 6


def test_a_reparameterised_family():
    """E b^2 = m^2 + 2 s^2."""

    def mean(params, key):
        return expect(jnp.square, dist.Laplace(*params), key=key, estimator=Reparameterisation())

    found = jax.jit(jax.vmap(jax.grad(mean), (None, 0)))(jnp.array([0.4, 1.2]), jax.random.split(KEY, N))
    assert np.abs(z_scores(flat(found), np.array([0.8, 4.8]))).max() < 6


def test_the_room_knows_what_works_for_it():
    poisson = dist.Poisson(jnp.asarray(RATES))
    assert list(suitable_estimators(f, poisson)) == ["LeaveOneOut", "ScoreFunction", "MeasureValued", "DiCE"]
    with pytest.raises(ArgumentError, match="DisARM works for Bernoulli variables, got Poisson.*LeaveOneOut"):
        expect(f, poisson, key=KEY, estimator=DisARM())
    with pytest.raises(ArgumentError, match="Enumeration works for Bernoulli, Categorical, OneHot"):
        expect(f, poisson, key=KEY, estimator=Enumeration())
    with pytest.raises(ArgumentError, match="Poisson variables have no relaxation noise; Bernoulli"):
        relaxation_noise(poisson, key=KEY)
    found = compare({"own": TwiceTheScore(), "two": LeaveOneOut()}, f, poisson, key=KEY, n_samples=200)
    assert (found.bias_z < 6).all()
    assert found.evaluations == (3, 2)
    bound = jax.eval_shape(lambda: vimco(lambda b: -jnp.sum(b), poisson, key=KEY, n_samples=3))
    assert bound.shape == ()


def test_what_is_registered():
    with pytest.raises(ArgumentError, match="kind must be a class of numpyro distributions such as Poisson"):
        inspect.unwrap(register_family)(dist.Bernoulli, PoissonFamily())
    with pytest.raises(ArgumentError, match="family must be an object of a class derived from Family"):
        inspect.unwrap(register_family)(dist.Gamma, PoissonFamily)
    with pytest.raises(ArgumentError, match="got Gamma. register_family adds another family"):
        expect(f, dist.Gamma(jnp.ones(2)), key=KEY, estimator=ScoreFunction())

    class Shifted(dist.Normal):
        """A distribution derived from one that is known."""

    joint, _ = read_distribution(Shifted(jnp.zeros(2), 1.0))
    assert isinstance(joint.families[0], NormalFamily)


@pytest.mark.parametrize("estimator", [DisARM(), LeaveOneOut(), ScoreFunction()])
def test_the_fewest_samples_by_default(estimator):
    @jax.jit
    def values():
        bits, least = dist.Bernoulli(logits=jnp.array([0.3, -0.2])), estimator.properties.least_samples
        return [expect(f, bits, key=KEY, estimator=estimator, n_samples=n) for n in (None, least)]

    assert len(set(map(float, values()))) == 1
