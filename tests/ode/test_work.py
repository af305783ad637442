import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from backthrough.ode import work
from ode.problems import double


@pytest.fixture(autouse=True)
def in_double():
    """In single precision rounding changes the error of a first step, and with it all steps."""
    with double():
        yield


def test_multiplications_of_products_convolutions_and_loops():
    def count(f, *args):
        return work.multiplications(jax.make_jaxpr(f)(*args).jaxpr)

    a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
    assert count(jnp.matmul, a, b) == 3 * 5 * 7
    assert count(jax.vmap(jnp.matmul), jnp.ones((4, 3, 5)), jnp.ones((4, 5, 7))) == 4 * 3 * 5 * 7
    image, kernel = jnp.ones((1, 3, 8, 8)), jnp.ones((6, 3, 2, 2))
    assert count(lambda x, w: jax.lax.conv(x, w, (1, 1), "VALID"), image, kernel) == 6 * 7 * 7 * 3 * 2 * 2
    assert count(lambda x: jax.lax.fori_loop(0, 9, lambda _, x: x @ x, x), jnp.ones((2, 2))) == 9 * 8
    assert count(jax.jit(jnp.sin), a) == 0


SOLVERS = {"Bosh3": ode.Bosh3(1e-4, 1e-6), "RK4": ode.RK4(5), "Tsit5": ode.Tsit5(1e-4, 1e-6)}
QUICK = {("Bosh3", "lanes"), ("RK4", "alone")}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, form, marks=[] if (name, form) in QUICK else pytest.mark.slow)
        for name in SOLVERS
        for form in ("lanes", "alone")
    ],
)
def test_stages_in_a_loop_give_what_stages_written_out_give(name, form, monkeypatch):
    rng = np.random.default_rng(0)
    weights, y0 = 0.5 * jnp.array(rng.normal(size=(12, 12))), jnp.array(rng.normal(size=(3, 12)))
    ts = jnp.array([0.0, 0.7, 1.5])

    def loss(weights, y0):
        def one(y):
            field = lambda t, y, w: jnp.tanh(w @ y)  # noqa: E731
            return ode.odeint(field, y, ts, weights, solver=SOLVERS[name]).ys

        return jnp.sum(jnp.square(jax.vmap(one)(y0) if form == "lanes" else one(y0[0])))

    found = []
    for large in (1, 10**9):
        monkeypatch.setattr(work, "LARGE", large)
        found.append(jax.jit(jax.grad(loss, (0, 1)))(weights, y0))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_tail_of_many_lanes_gives_the_same_in_a_loop(monkeypatch):
    weights = 0.5 * jax.random.normal(jax.random.key(0), (5, 5))
    y0 = jax.random.normal(jax.random.key(1), (16, 5))
    rates = jnp.geomspace(0.1, 20.0, 16)

    def loss(weights):
        def one(y, rate):
            field = lambda t, y, w: rate * jnp.tanh(w @ y)  # noqa: E731
            return ode.odeint(field, y, jnp.array([0.0, 1.0]), weights, solver=ode.Bosh3(1e-4, 1e-6)).ys[-1]

        return jnp.sum(jnp.sin(jax.vmap(one)(y0, rates)))

    found = []
    for notable in (1, 10**9):
        monkeypatch.setattr(work, "NOTABLE", notable)
        found.append(jax.value_and_grad(loss)(weights))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
