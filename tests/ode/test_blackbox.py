import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from backthrough.core import ArgumentError
from ode.problems import Y0, A, double, linear, linear_solution, relative

TS = (0.2, 0.9, 2.0)


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def own_rk4(fun, y0, ts):
    ys = [y0]
    for begin, end in itertools.pairwise(ts):
        assert end > begin  # it can only go forwards
        y, h = ys[-1], (end - begin) / 200
        for step in range(200):
            t = begin + step * h
            a = fun(t, y)
            b = fun(t + h / 2, y + h / 2 * a)
            c = fun(t + h / 2, y + h / 2 * b)
            d = fun(t + h, y + h * c)
            y = y + h / 6 * (a + 2 * b + 2 * c + d)
        ys.append(y)
    return np.stack(ys)


SOLVERS = {
    name: ode.blackbox(name, rtol=1e-8, atol=1e-10) for name in ("RK45", "DOP853", "LSODA", "Radau", "BDF")
}
SOLVERS["own"] = ode.blackbox(own_rk4, forwards=True)


def traced_rk4(fun, y0, ts):
    """In JAX, with a loop that reverse mode cannot pass."""

    def interval(y, ends):
        h = (ends[1] - ends[0]) / 200

        def step(state):
            k, y = state
            t = ends[0] + k * h
            a = fun(t, y)
            b = fun(t + h / 2, y + h / 2 * a)
            c = fun(t + h / 2, y + h / 2 * b)
            d = fun(t + h, y + h * c)
            return k + 1, y + h / 6 * (a + 2 * b + 2 * c + d)

        y = jax.lax.while_loop(lambda state: state[0] < 200, step, (0, y))[1]
        return y, y

    return jnp.concatenate([y0[None], jax.lax.scan(interval, y0, (ts[:-1], ts[1:]))[1]])


SOLVERS["traced"] = ode.blackbox(traced_rk4, traced=True)
SOLVERS["traced forwards"] = ode.blackbox(traced_rk4, traced=True, forwards=True)
SOLVERS["diffrax"] = ode.blackbox(diffrax.Dopri8(), rtol=1e-9, atol=1e-10)


def loss(y0, ts, matrix, solver):
    return jnp.sum(jnp.sin(ode.odeint(linear, y0, ts, matrix, solver=solver).ys))


@pytest.mark.parametrize("name", SOLVERS)
def test_gradients_are_those_of_expm(name):
    arguments = (jnp.array(Y0), jnp.array(TS), jnp.array(A))
    ours = jax.grad(loss, argnums=(0, 1, 2))(*arguments, SOLVERS[name])
    exact = jax.grad(lambda y, t, m: jnp.sum(jnp.sin(linear_solution(y, m, t))), argnums=(0, 1, 2))(
        *arguments
    )
    for a, b in zip(ours, exact, strict=True):
        assert relative(a, b) < 1e-6


@pytest.mark.parametrize("name", ["LSODA", "traced forwards", "diffrax"])
def test_under_jit_and_vmap(name):
    y0 = jnp.array(Y0) * jnp.arange(1.0, 3.0)[:, None]
    gradient = jax.grad(lambda y: loss(y, jnp.array(TS), jnp.array(A), SOLVERS[name]))
    together = jax.jit(jax.vmap(gradient))(y0)
    assert relative(together[1], gradient(y0[1])) < 1e-9


def test_what_goes_wrong():
    def breaks(fun, y0, ts):
        raise ValueError("the wheel came off")

    with pytest.raises(Exception, match="breaks failed: the wheel came off"):
        ode.odeint(linear, jnp.array(Y0), jnp.array(TS), jnp.array(A), solver=ode.blackbox(breaks))
    with pytest.raises(Exception, match=r"must return states of shape \(3, 3\), got \(3,\)"):
        ode.odeint(linear, jnp.array(Y0), jnp.array(TS), jnp.array(A),
                   solver=ode.blackbox(lambda fun, y0, ts: y0))  # fmt: skip
    with pytest.raises(ArgumentError, match="unknown SciPy method 'RK54'; did you mean 'RK45'"):
        ode.blackbox("RK54")
    with pytest.raises(ArgumentError, match="adjoint must be left out"):
        ode.odeint(linear, jnp.array(Y0), jnp.array(TS), jnp.array(A), solver=SOLVERS["RK45"],
                   adjoint=ode.Discrete())  # fmt: skip
    with pytest.raises(ArgumentError, match="a black box is a function solver.*got 3"):
        ode.blackbox(3)
    with pytest.raises(ArgumentError, match=r"must return states of shape \(3, 3\), got \(3,\)"):
        ode.odeint(linear, jnp.array(Y0), jnp.array(TS), jnp.array(A),
                   solver=ode.blackbox(lambda fun, y0, ts: y0, traced=True))  # fmt: skip


@pytest.mark.parametrize("solver", ["LSODA", diffrax.Dopri5()], ids=["LSODA", "diffrax"])
def test_a_problem_that_cannot_be_solved_backwards_is_refused(solver):
    """Two numbers that decay at rates 0.1 and 30: backwards the second one's errors grow by e^30."""
    rates = jnp.array([0.1, 30.0])

    black_box = ode.blackbox(solver)

    def loss(rates):
        field = lambda t, y, rates: -rates * (y - 1)  # noqa: E731
        solved = ode.odeint(field, jnp.array([2.0, 3.0]), jnp.array([0.0, 1.0]), rates, solver=black_box)
        return jnp.sum(solved.ys[-1])

    with pytest.raises(Exception, match="the state does not come back to where it was|failed: it stopped"):
        jax.block_until_ready(jax.jit(jax.grad(loss))(rates))
    mild = jax.jit(jax.grad(loss))(jnp.array([0.1, 1.0]))  # d/dr of 1 + (y0 - 1) exp(-r)
    np.testing.assert_allclose(mild, -np.array([1.0, 2.0]) * np.exp([-0.1, -1.0]), rtol=1e-4)


def test_a_field_that_closes_over_integers():
    index = jnp.array([1, 0, 2])

    def loss(scale):
        solved = ode.odeint(lambda t, y, s: -s * y[index], jnp.ones(3), jnp.array([0.0, 1.0]), scale,
                            solver=SOLVERS["RK45"])  # fmt: skip
        return jnp.sum(solved.ys[-1])

    assert jax.jit(jax.grad(loss))(0.5) == pytest.approx(-3 * np.exp(-0.5), rel=1e-6)
