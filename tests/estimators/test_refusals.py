"""Bad input, each by its message."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.core import ArgumentError
from backthrough.estimators import (
    ARM,
    LAX,
    REBAR,
    RELAX,
    RODEO,
    CategoricalDisARM,
    Concrete,
    DisARM,
    Enumeration,
    LeaveOneOut,
    MovingAverage,
    OneHotCategorical,
    ReinMax,
    Reparameterisation,
    ScoreFunction,
    StraightThrough,
    StraightThroughGumbel,
    compare,
    expect,
    numpy_function,
)
from backthrough.estimators.families.parameters import check_categories
from estimators.problems import constant

KEY = jax.random.key(0)
LOGITS = jnp.zeros(3)


def total(b):
    return jnp.sum(b)


def ask(f=total, d=None, estimator=None, key=KEY, **options):
    d = dist.Bernoulli(logits=LOGITS) if d is None else d
    estimator = ScoreFunction() if estimator is None else estimator
    return expect(f, d, key=key, estimator=estimator, **options)


@pytest.mark.parametrize("estimator", [ScoreFunction(), DisARM(), Reparameterisation(), REBAR()], ids=repr)
def test_checked_values(estimator):
    """Whatever transforms, the sample is named; without fault nothing changes."""
    normal = isinstance(estimator, Reparameterisation)

    def loss(parameters, key, checked, worst):
        d = dist.Normal(parameters, 1.0) if normal else dist.Bernoulli(logits=parameters)
        f = lambda b: jnp.where(worst, jnp.nan, 1.0) * jnp.sum(b**2)  # noqa: E731
        return ask(f, d, estimator, key, n_samples=4, checked=checked)

    first = r"\(0, 0\) of \(2, 2\)" if isinstance(estimator, DisARM) else "0 of 4"  # DisARM draws pairs
    slope = jax.jit(jax.grad(loss), static_argnums=(2,))
    np.testing.assert_array_equal(slope(LOGITS, KEY, True, False), slope(LOGITS, KEY, False, False))
    with pytest.raises(Exception, match=f"f returned nan for sample {first}"):
        jax.block_until_ready(slope(LOGITS, KEY, True, True))
    with pytest.raises(Exception, match=r"a parameter of (Normal|Bernoulli) is nan at entry \(1,\)"):
        jax.block_until_ready(slope(LOGITS.at[1].set(jnp.nan), KEY, True, False))
    many = jax.jit(jax.vmap(lambda worst: jax.grad(loss)(LOGITS, KEY, True, worst)))
    with pytest.raises(Exception, match=r"f returned nan for sample \(1, 0.*\) of \(2, "):
        jax.block_until_ready(many(jnp.array([False, True])))


def refused(message, call, *arguments, **options):
    with pytest.raises(ArgumentError, match=message):
        call(*arguments, **options)


def test_functions_that_do_not_return_one_number():
    refused(r"f must return one number for one sample, got shape \(3,\)", ask, lambda b: b)
    refused("f must return a floating-point number, got int32|int64", ask, lambda b: jnp.argmax(b))
    short = numpy_function(lambda b: b.sum())
    with pytest.raises(Exception, match=r"one number for each of 2 samples, shape \(2,\), got shape \(\)"):
        jax.block_until_ready(ask(short, n_samples=2))
    bad = numpy_function(lambda b: np.where(np.arange(len(b)) == 1, np.nan, 0.0))
    with pytest.raises(Exception, match="returned nan for sample 1 of 4"):
        jax.block_until_ready(ask(bad, n_samples=4))


def test_probabilities_that_are_none():
    refused(
        r"probs of Bernoulli must lie in \[0, 1\], got 2",
        ask,
        d=dist.Bernoulli(probs=jnp.array([2.0]), validate_args=False),
    )
    refused(
        "unbounded numbers are given as logits=",
        ask,
        d=dist.Bernoulli(probs=jnp.array([-1.0]), validate_args=False),
    )
    off = jnp.array([0.5, 0.2])
    refused(
        "probs of Categorical must sum to 1 over the last axis, got 0.7",
        ask,
        d=dist.Categorical(probs=off, validate_args=False),
    )
    refused("probs of OneHotCategorical must sum to 1", OneHotCategorical, probs=off)
    refused("takes exactly one of logits and probs", OneHotCategorical)
    refused("takes exactly one of logits and probs", OneHotCategorical, logits=off, probs=off)
    refused(
        "OneHotCategorical needs logits with a last axis", check_categories, "OneHotCategorical", jnp.ones(())
    )


def test_temperatures():
    for make in (Concrete, StraightThroughGumbel, REBAR, ReinMax, lambda t: RELAX(constant(), temperature=t)):
        for value in (0.0, -1.0, np.nan):
            refused("temperature must be finite and greater than zero", make, value)
    refused("temperature must be at least 1 here, got 0.5", ReinMax, 0.5)
    refused("decay must be at least 0 and below 1, got 1.0", MovingAverage, 1.0)


def test_numbers_of_samples():
    refused("LeaveOneOut needs n_samples of 2 or more, got 1", ask, estimator=LeaveOneOut(), n_samples=1)
    refused("DisARM needs an even n_samples of 2 or more, got 3", ask, estimator=DisARM(), n_samples=3)
    refused("ARM needs an even n_samples of 2 or more, got 1", ask, estimator=ARM(), n_samples=1)
    problem = (total, dist.Bernoulli(logits=LOGITS))
    wrong = {"mine": (DisARM(), 3)}
    refused(
        "mine needs an even n_samples of 2 or more, got 3", compare, wrong, *problem, key=KEY, n_samples=100
    )
    refused("n_samples must be at least 1, got 0", ask, n_samples=0)
    wide = dist.Bernoulli(logits=jnp.zeros(13))
    refused("Enumeration would need 8,192 outcomes; at most 4,096", ask, d=wide, estimator=Enumeration())


def test_families_that_do_not_fit():
    categorical = dist.Categorical(logits=LOGITS)
    one_hot = OneHotCategorical(logits=LOGITS)
    normal = dist.Normal(jnp.zeros(2), jnp.ones(2))
    refused(
        "DisARM works for Bernoulli variables, got OneHotCategorical.*LeaveOneOut",
        ask,
        d=one_hot,
        estimator=DisARM(),
        n_samples=2,
    )
    refused("ARM works for Bernoulli variables, got Categorical", ask, d=categorical, estimator=ARM())
    refused("LAX works for Normal variables, got Bernoulli.*RELAX", ask, estimator=LAX(constant()))
    refused(
        "Reparameterisation works for Normal variables, got Bernoulli", ask, estimator=Reparameterisation()
    )
    refused(
        "REBAR works for .*got Categorical.*or give a OneHotCategorical",
        ask,
        lambda b: b * 1.0,
        d=categorical,
        estimator=REBAR(),
    )
    refused("Enumeration works for .*got Normal.*Reparameterisation", ask, d=normal, estimator=Enumeration())
    refused("dist must be made of Bernoulli, .*got Gamma", ask, d=dist.Gamma(jnp.ones(2)))
    refused("dist has an expanded distribution", ask, d=dist.Normal(0.0, 1.0).expand([3]))
    refused("dist must be a numpyro distribution or a pytree of them; got", ask, d=LOGITS)
    refused("dist has no distribution in it", ask, d=[])


@pytest.mark.parametrize(
    "estimator", [REBAR(), RELAX(constant(), temperature=0.5), StraightThrough(), Concrete(), ReinMax()]
)
def test_black_boxes_have_no_gradient(estimator):
    f = numpy_function(lambda b: b.sum(1))
    refused(
        "needs the gradient of f, which a NumPy function has not. Without it work .*DisARM",
        ask,
        f,
        estimator=estimator,
    )


def test_parameters():
    refused(
        "loc of Normal must be floating-point numbers to have gradients, got int", ask, d=dist.Normal(0, 1)
    )
    refused("logits of Bernoulli is empty, shape \\(0,\\)", ask, d=dist.Bernoulli(logits=jnp.zeros(0)))
    with pytest.raises(ArgumentError, match="key must be one typed key made by jax.random.key"):
        inspect.unwrap(expect)(total, dist.Bernoulli(logits=LOGITS), key=None, estimator=ScoreFunction())
    with pytest.warns(UserWarning, match="OneHotCategorical has one category"):
        OneHotCategorical(logits=jnp.zeros((2, 1)))


def test_control_variates():
    refused("control has no trainable array", RELAX, lambda z: 0.0)
    refused("control has no trainable array", LAX, lambda z: 0.0)
    network = eqx.nn.MLP(3, 2, 4, 1, key=KEY)
    refused(r"control must return one number for one sample, got shape \(2,\)", ask, estimator=RELAX(network))


def test_what_f_returns_beside_the_number():
    refused("f returned None instead of one number; is its `return` missing", ask, lambda b: None)
    refused("f must return one number, got .x.", ask, lambda b: "x")
    refused("f must return one number, got a tuple of 2; .*return the number alone", ask, lambda b: (b[0], b))
    refused("f must return one number, got a dict of 1", ask, lambda b: {"loss": b[0]})


def test_a_numpy_function_inside_another_function():
    f = numpy_function(lambda b: b.sum(1))
    for estimator in (REBAR(), StraightThrough(), RELAX(constant(), temperature=0.5)):
        loss = lambda p: ask(lambda b: 2 * f(b), dist.Bernoulli(logits=p), estimator)  # noqa: B023,E731
        refused(
            "the derivative of the NumPy function .*<lambda> was asked for, and there is",
            jax.grad(loss),
            LOGITS,
        )
    for estimator in (LeaveOneOut(), RELAX(constant()), DisARM()):
        n = estimator.properties.least_samples
        loss = lambda p: ask(lambda b: 2 * f(b), dist.Bernoulli(logits=p), estimator, n_samples=n)  # noqa: B023,E731
        assert np.isfinite(jax.jit(jax.grad(loss))(LOGITS)).all()


def test_what_a_numpy_function_raises():
    def simulator(b):
        raise KeyError("no such leaf")

    message = (
        r"the NumPy function .*simulator, called with samples of shape \(2, 3\), raised KeyError: 'no such"
    )
    f = numpy_function(simulator)
    refused(message, ask, f, n_samples=2)  # at once
    with pytest.raises(jax.errors.JaxRuntimeError, match=message) as caught:
        jax.block_until_ready(jax.jit(lambda key: ask(f, key=key, n_samples=2))(KEY))
    assert "raised KeyError: 'no such leaf' (" in str(caught.value).strip().splitlines()[-1]


def test_a_control_of_another_size():
    """z comes one sample at a time: three numbers here."""
    network = eqx.nn.MLP(4, "scalar", 4, 1, key=KEY)
    for estimator in (RELAX(network), RELAX(network, temperature=0.5)):
        refused(
            r"control does not work for one sample at a time, which it gets with shape \(3,\)",
            ask,
            estimator=estimator,
        )
    normal = dist.Normal(jnp.zeros(3), 1.0)
    refused(r"control does not work .* with shape \(3,\)", ask, d=normal, estimator=LAX(network))
    refused(
        r"control of RODEO does not work .* with shape \(2,\)", ask, estimator=RODEO(network), n_samples=2
    )
    takes_one = eqx.Partial(lambda value, x: value, jnp.ones(()))
    refused("baseline does not work", ask, estimator=ScoreFunction(takes_one))


def test_parameters_of_too_few_bits():
    small = dist.Bernoulli(logits=jnp.zeros(3, jnp.float8_e4m3fn))
    refused("logits of Bernoulli must be of half precision at the least, got float8_e4m3fn", ask, d=small)


@pytest.mark.filterwarnings("ignore:OneHotCategorical has one category")
def test_one_category():
    d = OneHotCategorical(logits=jnp.zeros((2, 1)))
    refused("needs two categories or more", ask, d=d, estimator=CategoricalDisARM(), n_samples=2)
    slopes = jax.jit(jax.grad(lambda p: ask(d=OneHotCategorical(logits=p))))(jnp.zeros((2, 1)))
    assert (slopes == 0).all()


def test_values_of_one_hot_vectors():
    d = OneHotCategorical(logits=jnp.array([0.1, 0.2, 0.7]))
    assert float(d.log_prob(jnp.array([0.0, 0.0, 1.0]))) == pytest.approx(
        float(jax.nn.log_softmax(d.logits)[2])
    )
    assert d.sample(KEY, (5,)).shape == (5, 3)
    np.testing.assert_allclose(d.mean.sum(), 1.0, rtol=1e-6)
    refused("has one entry 1 and the others 0", d.log_prob, jnp.array([0.5, 0.5, 0.0]))
    refused("has one entry 1 and the others 0", d.log_prob, jnp.array([1.0, 1.0, 0.0]))
