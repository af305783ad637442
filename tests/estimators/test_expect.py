"""`expect` inside jit, vmap, scan and larger losses; black boxes; what is refused."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.core import ArgumentError
from backthrough.estimators import (
    REBAR,
    RELAX,
    DisARM,
    Enumeration,
    LeaveOneOut,
    Reparameterisation,
    ScoreFunction,
    StraightThrough,
    expect,
    numpy_function,
    value_and_grad,
)
from estimators.problems import LOGITS, constant, exact, flat, quadratic, z_scores

KEY = jax.random.key(0)
POINT = jnp.asarray(LOGITS, jnp.result_type(float))


def loss(logits, key, estimator=None, f=quadratic, n_samples=2):
    estimator = LeaveOneOut() if estimator is None else estimator
    return expect(f, dist.Bernoulli(logits=logits), key=key, estimator=estimator, n_samples=n_samples)


def test_jit_vmap_scan_and_grad_of_vmap_agree():
    keys = jax.random.split(KEY, 5)
    compiled = jax.jit(jax.grad(loss))
    one_by_one = jnp.stack([compiled(POINT, key) for key in keys])
    np.testing.assert_allclose(jax.grad(loss)(POINT, keys[0]), one_by_one[0], rtol=1e-5, atol=1e-6)
    mapped = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(POINT, keys)
    np.testing.assert_allclose(mapped, one_by_one, rtol=1e-5, atol=1e-6)
    grad_of_vmap = jax.jit(jax.grad(lambda p: jax.vmap(loss, (None, 0))(p, keys).mean()))(POINT)
    np.testing.assert_allclose(grad_of_vmap, one_by_one.mean(0), rtol=1e-4, atol=1e-6)

    def scanned(logits):
        return jax.lax.scan(lambda total, key: (total + loss(logits, key), None), jnp.zeros(()), keys)[0]

    np.testing.assert_allclose(jax.jit(jax.grad(scanned))(POINT), one_by_one.sum(0), rtol=1e-4, atol=1e-5)


def test_a_distribution_goes_through_vmap_by_its_parameters():
    """Even one made outside: batch_shape goes stale there, the parameters do not."""
    rows = jnp.stack([POINT, -POINT, 2 * POINT])
    keys = jax.random.split(KEY, 3)
    inside = jax.jit(jax.vmap(loss))(rows, keys)

    def of(d, key):
        return expect(quadratic, d, key=key, estimator=LeaveOneOut(), n_samples=2)

    across = jax.jit(jax.vmap(of))(dist.Bernoulli(logits=rows), keys)
    np.testing.assert_allclose(across, inside, rtol=1e-6)


@pytest.mark.parametrize(
    "estimator", [LeaveOneOut(), DisARM(), REBAR(), RELAX(constant()), StraightThrough(), Enumeration()]
)
def test_closures_get_their_gradient(estimator):
    """d/dw E[w . b] = p at any number of draws' mean, beside the gradient of the logits, in one call."""
    weight = jnp.array([1.0, -2.0, 0.5, 3.0])

    def both(logits, weight, key):
        return loss(logits, key, estimator, lambda b: b @ weight)

    gradients = jax.vmap(jax.grad(both, argnums=(0, 1)), (None, None, 0))
    to_logits, to_weight = jax.jit(gradients)(POINT, weight, jax.random.split(KEY, 20_000))
    p = jax.nn.sigmoid(POINT)
    if isinstance(estimator, Enumeration):
        np.testing.assert_allclose(to_weight[0], p, rtol=1e-5)
        return
    assert np.abs(z_scores(flat(to_weight), np.asarray(p))).max() < 6
    assert np.abs(z_scores(flat(to_logits), np.asarray(weight * p * (1 - p)))).max() < 6


def test_the_control_variate_does_not_reach_what_f_closes_over():
    """f's weight gets the plain gradient, whatever the scale of the relaxed f in the control variate."""
    weight = jnp.array([1.0, -2.0, 0.5, 3.0])

    @jax.jit
    def to_weight(scale):
        return jax.grad(lambda w: loss(POINT, KEY, REBAR(scale=scale), lambda b: b @ w))(weight)

    np.testing.assert_allclose(to_weight(0.0), to_weight(5.0))


def test_direct_dependence_on_the_parameters_is_added_once():
    """f(b) = -log q(b): the gradient of the entropy, whose score part has mean zero."""

    def entropy(logits, key, estimator):
        minus_log_q = lambda b: -jnp.sum(b * logits - jax.nn.softplus(logits))  # noqa: E731
        return loss(logits, key, estimator, minus_log_q)

    p = np.asarray(jax.nn.sigmoid(POINT))
    for estimator in (REBAR(), DisARM()):
        grads = jax.vmap(jax.grad(entropy), (None, 0, None))
        sample = jax.jit(lambda keys: grads(POINT, keys, estimator))(jax.random.split(KEY, 20_000))  # noqa: B023
        assert np.abs(z_scores(flat(sample), -p * (1 - p) * LOGITS)).max() < 6


def test_a_pytree_of_distributions():
    def both(params, key):
        d = {"a": dist.Bernoulli(logits=params["a"]).to_event(1), "b": [dist.Bernoulli(logits=params["b"])]}
        return expect(
            lambda s: quadratic(jnp.concatenate([s["a"], s["b"][0]])),
            d,
            key=key,
            estimator=Enumeration(),
        )

    gradient = jax.jit(jax.grad(both))({"a": POINT[:3], "b": POINT[3:]}, KEY)
    np.testing.assert_allclose(
        np.concatenate([gradient["a"], gradient["b"]]), exact("bernoulli"), rtol=1e-4, atol=1e-6
    )


def test_probabilities_carry_the_gradient_too():
    p = jax.nn.sigmoid(POINT)

    def of_probs(p):
        return expect(quadratic, dist.Bernoulli(probs=p), key=KEY, estimator=Enumeration())

    np.testing.assert_allclose(
        jax.jit(jax.grad(of_probs))(p) * p * (1 - p), exact("bernoulli"), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("estimator", [LeaveOneOut(), RELAX(constant()), StraightThrough()])
def test_second_derivatives_that_would_miss_something_are_refused(estimator):
    with pytest.raises(ArgumentError, match="second derivative.*Use DiCE or Enumeration"):
        jax.eval_shape(jax.hessian(lambda p: loss(p, KEY, estimator)), POINT)
    with pytest.raises(ArgumentError, match="second derivative"):
        jax.eval_shape(jax.grad(lambda p: jnp.sum(jax.grad(loss)(p, KEY, estimator) ** 2)), POINT)


def test_mixed_second_derivatives_are_refused():
    def slope(weight):
        return jax.grad(lambda p: loss(p, KEY, f=lambda b: b @ weight))(POINT).sum()

    with pytest.raises(ArgumentError, match="second derivative"):
        jax.eval_shape(jax.grad(slope), jnp.ones(4))
    # the other way round, and of what trains a control variate
    to_weight = jax.grad(lambda weight, p: loss(p, KEY, f=lambda b: b @ weight))
    with pytest.raises(ArgumentError, match="second derivative"):
        jax.eval_shape(jax.jacfwd(to_weight, 1), jnp.ones(4), POINT)
    to_control = jax.grad(lambda own, p: loss(p, KEY, own))
    with pytest.raises(ArgumentError, match="second derivative"):
        jax.eval_shape(lambda p: jax.jacfwd(to_control, 1)(REBAR(), p), POINT)


@pytest.mark.parametrize("estimator", [ScoreFunction(), LeaveOneOut(), DisARM(), RELAX(constant()), REBAR()])
def test_the_hessian_in_what_only_f_depends_on(estimator):
    """f = (w . b)^2: E of 2 b b', whose entries are 2 p_i p_j, and 2 p_i; 16 within 6 standard errors."""

    @jax.jit
    @jax.vmap
    def hessian(key):
        return jax.hessian(lambda w: loss(POINT, key, estimator, lambda b: (w @ b) ** 2))(jnp.ones(4))

    p = np.asarray(jax.nn.sigmoid(POINT))
    expected = 2 * (np.outer(p, p) * (1 - np.eye(4)) + np.diag(p))
    assert np.abs(z_scores(flat(hessian(jax.random.split(KEY, 5000))), expected.ravel())).max() < 6


def test_second_derivatives_of_the_exact_ones():
    """By finite differences of the exact gradient, and in closed form for a Normal square."""
    hessian = jax.jit(jax.hessian(lambda p: loss(p, KEY, Enumeration())))(POINT)
    gradient = jax.jit(jax.grad(lambda p: loss(p, KEY, Enumeration())))
    step = 0.02
    for i, row in enumerate(jnp.eye(4)):
        slope = (gradient(POINT + step * row) - gradient(POINT - step * row)) / (2 * step)
        np.testing.assert_allclose(hessian[i], slope, atol=1e-3)

    def normal(loc):
        return expect(jnp.square, dist.Normal(loc, 1.0), key=KEY, estimator=Reparameterisation())

    assert jax.jit(jax.grad(jax.grad(normal)))(0.3) == pytest.approx(2.0)


def test_numpy_functions_are_called_once_for_all_samples():
    calls = []

    def batched(b):
        calls.append(b.shape)
        assert isinstance(b, np.ndarray)
        return ((b - np.linspace(0.2, 0.9, 4)) ** 2).sum(1)

    f = numpy_function(batched)
    twin = lambda b: jnp.sum((b - np.linspace(0.2, 0.9, 4)) ** 2)  # noqa: E731
    keys = jax.random.split(KEY, 3)

    def gradient(f, estimator):
        return jax.grad(lambda p: jax.vmap(lambda k: loss(p, k, estimator, f, n_samples=4))(keys).mean())(
            POINT
        )

    for estimator in (DisARM(), RELAX(constant())):
        calls.clear()
        ours = jax.jit(partial(gradient, f))(estimator)
        assert calls == [(12, 4)]
        np.testing.assert_allclose(ours, jax.jit(partial(gradient, twin))(estimator), rtol=1e-5, atol=1e-6)
    assert jax.jit(jax.grad(lambda p: loss(p, KEY, Enumeration(), f)))(POINT).shape == (4,)
    assert calls[-1] == (16, 4)


def test_numpy_functions_of_pytrees():
    f = numpy_function(lambda s: s["a"].sum(axis=1) * s["x"])
    d = {"a": dist.Bernoulli(logits=POINT), "x": dist.Normal(0.5, 1.0)}
    keys = jax.random.split(KEY, 4)
    draw = jax.jit(jax.vmap(lambda k: expect(f, d, key=k, estimator=ScoreFunction(), n_samples=3)))
    values = draw(keys)
    assert values.shape == (4,)
    assert np.isfinite(values).all()


def test_value_and_grad_takes_the_variance_on_the_callers_parameters():
    """Its gradients are those of `expect`; its control gradients are 2 <g, dg/dphi> by finite differences."""
    features = jax.random.normal(jax.random.key(5), (4, 3))
    params = {"weight": jnp.array([0.3, -0.2, 0.9]), "name": "kept"}

    @eqx.filter_jit
    def both(estimator):
        return value_and_grad(
            quadratic,
            lambda p: dist.Bernoulli(logits=features @ p["weight"]),
            params,
            key=KEY,
            estimator=estimator,
        )

    value, grads, aux = jax.tree_util.tree_map(lambda leaf: leaf, both(REBAR(0.7, 0.8)))
    plain = jax.jit(jax.value_and_grad(lambda w: loss(features @ w, KEY, REBAR(0.7, 0.8), n_samples=1)))
    expected = plain(params["weight"])
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(grads["weight"], expected[1], rtol=1e-5)
    assert grads["name"] is None
    step = 1e-2

    def square(scale):
        return float(jnp.sum(both(REBAR(0.7, scale))[1]["weight"] ** 2))

    slope = (square(0.8 + step) - square(0.8 - step)) / (2 * step)
    assert float(aux.control_grads.scale) == pytest.approx(slope, rel=2e-3)
    assert isinstance(both(Enumeration())[2].control_grads, Enumeration)
    assert eqx.tree_equal(both(ScoreFunction())[2].control_grads, ScoreFunction())
