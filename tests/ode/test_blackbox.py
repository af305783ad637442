import itertools

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


def test_under_jit_and_vmap():
    y0 = jnp.array(Y0) * jnp.arange(1.0, 3.0)[:, None]
    gradient = jax.grad(lambda y: loss(y, jnp.array(TS), jnp.array(A), SOLVERS["LSODA"]))
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
