"""The Rosenbrock method against closed forms, SciPy's Radau, and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from backthrough import ode
from backthrough.core import ArgumentError
from backthrough.ode import rosenbrock
from backthrough.ode.linear import solver_of
from ode.problems import Y0, A, double, linear, relative, van_der_pol, weighted, weighted_exactly

RATES = (0.04, 3e7, 1e4)


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def robertson(t, y, rates):
    a, b, c = rates
    first, second = a * y[0] - c * y[1] * y[2], b * y[1] ** 2
    return jnp.stack([-first, first - second, second])


def test_order_by_halving_the_step():
    """On y' = y cos t + sin(y) - sin(exp(sin t)), whose solution is exp(sin t); within 25 %."""

    def field(s, y):
        return y * jnp.cos(s) + jnp.sin(y) - jnp.sin(jnp.exp(jnp.sin(s)))

    def error(n):
        h = jnp.array(1.0) / n
        y, _ = jax.lax.scan(
            lambda y, i: (rosenbrock.step(field, i * h, y, h), None), jnp.ones(1), jnp.arange(n)
        )
        return abs(y[0] - jnp.exp(jnp.sin(1.0)))

    assert abs(error(16) / error(32) / 2**5 - 1) < 0.25


def test_between_steps_it_is_of_order_four():
    """Halving the step divides the error at a third of it by 2^5, a local error, within 25 %."""

    def field(s, y):
        return y * jnp.cos(s)

    def error(h):
        h = jnp.array([h])
        curve = rosenbrock.polynomials(lambda s, y: field(s, y), jnp.zeros(1), jnp.ones((1, 1)), h)
        y = 1 + sum(c[0, 0] / 3 ** (k + 1) for k, c in enumerate(curve))
        return abs(y - jnp.exp(jnp.sin(h[0] / 3)))

    assert error(0.1) / error(0.05) > 0.75 * 2**5


@pytest.mark.parametrize("n", [3, 7])
def test_linear_systems_that_need_pivots(n):
    matrix = jnp.array(np.random.default_rng(n).normal(size=(n, n))).at[0, 0].set(0.0)
    right = jnp.arange(1.0, n + 1)

    lanes = jnp.stack([matrix, 2 * matrix + jnp.eye(n)], axis=-1)

    @jax.jit
    def look(matrix, right, lanes):
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(solver_of(a[0])(a[1]))), argnums=(0, 1))
        return gradient(matrix, right), solver_of(lanes)(jnp.stack([right, right], axis=-1))

    (of_matrix, of_right), both = look(matrix, right, lanes)
    x = np.linalg.solve(matrix, right)
    exact = np.linalg.solve(np.asarray(matrix).T, np.cos(x))
    assert relative(of_right, exact) < 1e-11
    assert relative(of_matrix, -np.outer(exact, x)) < 1e-11
    assert relative(both[:, 1], np.linalg.solve(lanes[..., 1], right)) < 1e-11


@pytest.mark.parametrize(
    ("size", "ts"),
    [
        (2, (0.2, 2.0)),
        pytest.param(2, (0.2, 0.9, 2.0), marks=pytest.mark.slow),
        pytest.param(3, (0.2, 0.5, 0.9, 2.0), marks=pytest.mark.slow),
    ],
)
def test_solution_and_gradients_of_a_linear_system_are_those_of_expm(size, ts):
    def loss(y0, matrix, ts):
        return weighted(ode.odeint(linear, y0, ts, matrix, solver=ode.Rodas5P(1e-9, 1e-10)).ys)

    arguments = (jnp.array(Y0)[:size], jnp.array(A)[:size, :size], jnp.array(ts))
    ours = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments)
    for a, b in zip(ours, weighted_exactly(*arguments)[1], strict=True):
        assert relative(a, b) < 1e-7


def test_robertson():
    """To 1e11, where Radau at 1e-12 finds 2.0833401e-8, 8.3333608e-14 and 0.99999998."""
    ts = jnp.array([0.0, 1e2, 1e11])
    found = ode.odeint(robertson, jnp.array([1.0, 0.0, 0.0]), ts, RATES, solver=ode.Rodas5P(1e-8, 1e-14))
    assert relative(found.ys[2, :2] / jnp.array([2.0833401e-8, 8.3333608e-14]), jnp.ones(2)) < 1e-4
    assert found.stats.accepted < 1000
    radau = solve_ivp(
        lambda t, y: np.array(
            [-0.04 * y[0] + 1e4 * y[1] * y[2], 0.04 * y[0] - 1e4 * y[1] * y[2] - 3e7 * y[1] ** 2,
             3e7 * y[1] ** 2]
        ),
        (0, 1e2), [1.0, 0.0, 0.0], method="Radau", rtol=1e-10, atol=1e-14,
    ).y[:, -1]  # fmt: skip
    np.testing.assert_allclose(found.ys[1], radau, rtol=1e-6)


@pytest.mark.slow
def test_gradient_of_robertson_is_that_of_differences():
    def loss(rate):
        found = ode.odeint(
            robertson, jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1e2]), (rate, 3e7, 1e4),
            solver=ode.Rodas5P(1e-10, 1e-14), max_steps=2048,
        )  # fmt: skip
        return found.ys[-1, 0]

    gradient = jax.jit(jax.value_and_grad(loss))
    step = 1e-5
    differences = (gradient(0.04 + step)[0] - gradient(0.04 - step)[0]) / (2 * step)
    assert relative(gradient(0.04)[1], differences) < 1e-5


@pytest.mark.slow
def test_lanes_of_stiff_problems():
    ts, mu = jnp.array([0.0, 1.0, 3.0]), jnp.exp(jnp.linspace(0.0, 4.0, 20))

    def loss(mu, w):
        ys = ode.odeint(van_der_pol, jnp.array([2.0, 0.0]), ts, (mu, w), solver=ode.Rodas5P(1e-7, 1e-7)).ys
        return jnp.sum(ys**2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    alone = [gradient(m, jnp.array(1.0)) for m in mu]
    every = jax.jit(jax.grad(lambda m, w: jax.vmap(loss, (0, None))(m, w).sum(), argnums=(0, 1)))
    of_mu, of_w = every(mu, jnp.array(1.0))
    assert relative(of_mu, jnp.stack([g[0] for g in alone])) < 1e-8
    assert relative(of_w, sum(g[1] for g in alone)) < 1e-8


@pytest.mark.slow
def test_wide_stiff_states():
    """More entries than are eliminated by hand or replayed at once: against differentiation of the steps."""
    matrix = -jnp.diag(jnp.logspace(0, 4, 12)) + jax.random.normal(jax.random.key(0), (12, 12))

    def loss(y0, matrix, adjoint):
        found = ode.odeint(
            linear, y0, jnp.array([0.0, 1.0]), matrix, solver=ode.Rodas5P(1e-7, 1e-9), max_steps=256,
            adjoint=adjoint,
        )  # fmt: skip
        return jnp.sum(found.ys**2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    for a, b in zip(
        gradient(jnp.ones(12), matrix, ode.Discrete()),
        gradient(jnp.ones(12), matrix, ode.Unrolled()),
        strict=True,
    ):
        assert relative(a, b) < 1e-9


def test_explicit_adjoints_refuse():
    for adjoint in (ode.Continuous(), ode.Interpolated(), ode.Backsolve()):
        with pytest.raises(ArgumentError, match=r"\(\) needs an explicit solver.*got Rodas5P.*Discrete\(\)"):
            ode.odeint(
                linear,
                jnp.array(Y0),
                jnp.array([0.0, 1.0]),
                jnp.array(A),
                solver=ode.Rodas5P(),
                adjoint=adjoint,
            )


def test_derivatives_in_time_of_any_order_by_unrolled_steps():
    """Most of the steps are empty; the derivatives by their size were not finite."""

    def end(time):
        found = ode.odeint(
            lambda t, y, args: -y, 1.0, jnp.stack([0.0, time]), solver=ode.Rodas5P(1e-8, 1e-8),
            adjoint=ode.Unrolled(), max_steps=32,
        )  # fmt: skip
        return found.ys[-1]

    value, forward = jax.jvp(end, (1.0,), (1.0,))
    second = jax.jit(jax.grad(jax.grad(end)))(1.0)
    np.testing.assert_allclose([value, -forward, second], np.exp(-1.0), rtol=1e-7)
