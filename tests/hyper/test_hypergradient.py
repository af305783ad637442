"""Hypergradients of every engine against a closed form, and against one another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from backthrough.core import ArgumentError
from backthrough.hyper import (
    CG,
    CentredLinear,
    Direct,
    Elementwise,
    HyperSpace,
    Implicit,
    LocalHypernet,
    Neumann,
    Problem,
    Real,
    SimplifiedHypernet,
    Unroll,
    hypergradient,
)
from backthrough.hyper.engines import Place
from oracles.ridge_response import (
    FEATURES,
    X,
    exact_hypergradient,
    response,
    train_loss,
    valid_at,
    valid_loss,
)

KEY = jax.random.key(0)
POINT = np.array([-2.0, -1.0, 0.5, -3.0])
LARGEST = np.linalg.eigvalsh(2 * X.T @ X / len(X) + 2 * np.diag(np.exp(POINT)))[-1]


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def problem(params=None):
    params = jnp.asarray(response(POINT)) if params is None else params
    return Problem(train_loss, valid_loss, params, HyperSpace(decay=Real(log=True, per="weight")))


@pytest.mark.parametrize(
    ("engine", "tolerance"),
    [
        (Implicit(Direct()), 1e-8),
        (Implicit(CG(20, rtol=1e-13)), 1e-8),
        (Implicit(Neumann(4000)), 1e-6),
        (Implicit(Neumann(4000, step=1.9 / LARGEST)), 1e-6),
        (Unroll(2000, optax.sgd(1.9 / LARGEST)), 1e-6),
    ],
)
def test_at_the_best_response_it_is_exact(engine, tolerance):
    got = hypergradient(problem(), jnp.asarray(POINT), engine=engine, key=KEY)
    exact = exact_hypergradient(POINT)
    assert np.linalg.norm(got.gradient - exact) < tolerance * np.linalg.norm(exact) + 1e-9
    np.testing.assert_allclose(got.valid_loss, valid_at(POINT), rtol=1e-7)
    np.testing.assert_array_equal(got.by_name["decay"], got.gradient)


def test_a_truncated_series_is_a_truncated_unroll():
    step = 0.5 / LARGEST
    series = hypergradient(problem(), jnp.asarray(POINT), engine=Implicit(Neumann(4, step=step)), key=KEY)
    unrolled = hypergradient(problem(), jnp.asarray(POINT), engine=Unroll(5, optax.sgd(step)), key=KEY)
    np.testing.assert_allclose(series.gradient, unrolled.gradient, rtol=1e-10)


@pytest.mark.parametrize("per", ["all", "weight"])
def test_a_trained_response_points_where_the_exact_one_does(per):
    point = POINT if per == "weight" else POINT[:1]
    space = HyperSpace(decay=Real(log=True, per=per))
    own = Problem(train_loss, valid_loss, jnp.zeros(FEATURES), space)
    engine = LocalHypernet(CentredLinear(), n_samples=10, learning_rate=3e-2)
    place = Place(jnp.asarray(point), jnp.full(len(point), np.log(0.1)), jnp.zeros(()))

    def step(state, i):
        now = place._replace(progress=i / 2000)
        return engine.fit(own, state, now, None, key=jax.random.fold_in(KEY, i))[0], None

    state, _ = jax.lax.scan(step, engine.init(own, place, key=KEY), jnp.arange(2000))
    got = hypergradient(own, place.u, engine=engine, state=state, key=KEY).gradient
    exact = exact_hypergradient(point)
    assert got @ exact > 0.99 * np.linalg.norm(got) * np.linalg.norm(exact)


def test_a_response_that_knows_nothing_has_no_hypergradient():
    for kind in (CentredLinear(), Elementwise()):
        got = hypergradient(problem(), jnp.asarray(POINT), engine=LocalHypernet(kind), key=KEY)
        assert np.all(got.gradient == 0)


def test_the_toy_of_a_curved_response():
    # argmin over w of (w + sin u)^2 + u^2 is -sin u, whose slope at 0 is -1.
    space = HyperSpace(u=Real(initial=0.0))
    toy = Problem(
        lambda w, hyper: (w + jnp.sin(hyper["u"])) ** 2 + hyper["u"] ** 2,
        lambda w: 3 * w,
        jnp.zeros(()),
        space,
    )
    got = hypergradient(toy, engine=Implicit(Direct()), key=KEY)
    np.testing.assert_allclose(got.gradient, [-3.0], rtol=1e-12)


def test_an_indefinite_hessian_and_a_long_step_are_seen():
    space = HyperSpace(decay=Real(log=True))
    saddle = Problem(
        lambda w, hyper: w[0] ** 2 - w[1] ** 2 + hyper["decay"] * w[1],
        lambda w: w[1] + 0 * w[0],
        jnp.array([0.0, 1.0]),
        space,
    )
    got = hypergradient(saddle, engine=Implicit(CG(5)), key=KEY)
    assert any(np.isnan(value) and "raise the damping" in name for name, value in got.metrics.items())
    damped = hypergradient(saddle, engine=Implicit(CG(5, damping=5.0)), key=KEY)
    assert all(np.isfinite(value) for value in damped.metrics.values())
    long = Implicit(Neumann(20, step=2.5 / LARGEST))
    got = hypergradient(problem(), jnp.asarray(POINT), engine=long, key=KEY)
    for _ in range(20):  # the power iteration goes on from call to call
        got = hypergradient(problem(), jnp.asarray(POINT), engine=long, key=KEY, state=got.state)
    assert any(np.isnan(value) and "give a smaller one" in name for name, value in got.metrics.items())


def test_learning_rates_are_tuned_through_unrolling():
    # One step from w: w - r g, so dL_V/dr = -grad L_V(w - r g) . g.
    space = HyperSpace(rate=Real(1e-3, 1.0, log=True, initial=0.1))
    own = Problem(lambda w, hyper: train_loss(w, {"decay": 0.0}), valid_loss, jnp.zeros(FEATURES), space)
    engine = Unroll(1, lambda hyper: optax.sgd(hyper["rate"]))
    got = hypergradient(own, engine=engine, key=KEY).gradient
    gradient = jax.grad(lambda w: train_loss(w, {"decay": 0.0}))(jnp.zeros(FEATURES))
    exact = -0.1 * jax.grad(valid_loss)(-0.1 * gradient) @ gradient  # by log r
    np.testing.assert_allclose(got, [exact], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimplifiedHypernet(CentredLinear()), "it would not learn how weights follow"),
        (lambda: LocalHypernet(CentredLinear), "response must be a response"),
        (lambda: LocalHypernet(n_samples=3), "must be even"),
        (lambda: LocalHypernet(train_steps=0), "at least 1"),
        (lambda: LocalHypernet(learning_rate=-1.0), "greater than zero"),
        (lambda: Implicit(CG), "inverse must be CG"),
        (lambda: CG(damping=-1.0), "damping must be 0 or more"),
        (lambda: hypergradient(None, engine=Implicit(), key=KEY), "problem must be a Problem"),
        (
            lambda: hypergradient(problem(), jnp.zeros(4, int), engine=Implicit(), key=KEY),
            "float32 or float64",
        ),
        (lambda: Problem(1, valid_loss, jnp.zeros(3), HyperSpace(a=Real())), "train_loss must be a function"),
        (lambda: Problem(train_loss, valid_loss, jnp.zeros(3), {"a": 1}), "space must be a HyperSpace"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
