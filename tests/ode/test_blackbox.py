import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from backthrough import ode
from backthrough.core import ArgumentError
from ode.problems import Y0, A, double, linear, relative, weighted, weighted_exactly

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
SOLVERS["diffrax"] = ode.blackbox(diffrax.Bosh3(), rtol=1e-8, atol=1e-10)
SOLVERS["diffrax Dopri8"] = ode.blackbox(diffrax.Dopri8(), rtol=1e-9, atol=1e-10)


def loss(y0, ts, matrix, solver):
    return weighted(ode.odeint(linear, y0, ts, matrix, solver=solver).ys)


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow) if x.startswith("diffrax") else x for x in SOLVERS],
)
def test_gradients_are_those_of_expm(name):
    y0, ts, matrix = jnp.array(Y0), jnp.array(TS), jnp.array(A)
    of_y0, of_ts, of_matrix = jax.grad(loss, argnums=(0, 1, 2))(y0, ts, matrix, SOLVERS[name])
    for a, b in zip((of_y0, of_matrix, of_ts), weighted_exactly(y0, matrix, ts)[1], strict=True):
        assert relative(a, b) < 1e-6


@pytest.mark.parametrize(
    "name", ["LSODA", "traced forwards", pytest.param("diffrax", marks=pytest.mark.slow)]
)
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


@pytest.mark.parametrize(
    "solver",
    ["LSODA", pytest.param(diffrax.Bosh3(), marks=pytest.mark.slow)],
    ids=["LSODA", "diffrax"],
)
def test_a_problem_that_cannot_be_solved_backwards_is_refused(solver):
    """Two numbers that decay at rates 0.1 and 30: backwards the second one's errors grow by e^30."""
    rates = jnp.array([0.1, 30.0])

    black_box = ode.blackbox(solver)

    def loss(rates):
        field = lambda t, y, rates: -rates * (y - 1)  # noqa: E731
        solved = ode.odeint(field, jnp.array([2.0, 3.0]), jnp.array([0.0, 1.0]), rates, solver=black_box)
        return jnp.sum(solved.ys[-1])

    gradient = jax.jit(jax.grad(loss))
    with pytest.raises(Exception, match="the state does not come back to where it was|failed: it stopped"):
        jax.block_until_ready(gradient(rates))
    mild = gradient(jnp.array([0.1, 1.0]))  # d/dr of 1 + (y0 - 1) exp(-r)
    np.testing.assert_allclose(mild, -np.array([1.0, 2.0]) * np.exp([-0.1, -1.0]), rtol=1e-4)


def test_a_field_that_closes_over_integers():
    index = jnp.array([1, 0, 2])

    def loss(scale):
        solved = ode.odeint(lambda t, y, s: -s * y[index], jnp.ones(3), jnp.array([0.0, 1.0]), scale,
                            solver=SOLVERS["RK45"])  # fmt: skip
        return jnp.sum(solved.ys[-1])

    assert jax.jit(jax.grad(loss))(0.5) == pytest.approx(-3 * np.exp(-0.5), rel=1e-6)


def decay(t, y, args):
    return -y


def silent(fun, y0, ts):
    """Euler's method, which goes nowhere if time runs back."""
    ys, t = [y0], ts[0]
    for end in ts[1:]:
        y = ys[-1]
        while t < end:
            y, t = y + 0.01 * fun(t, y), t + 0.01
        ys.append(y)
    return np.stack(ys)


def gradient(solver, field=decay, y0=(1.0, 2.0)):
    def loss(y):
        return jnp.sum(ode.odeint(field, y, jnp.array([0.0, 1.0]), solver=solver).ys[-1])

    return jax.block_until_ready(jax.jit(jax.grad(loss))(jnp.array(y0)))


def test_a_field_without_parameters():
    np.testing.assert_allclose(gradient(SOLVERS["RK45"]), jnp.exp(-jnp.ones(2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("message", "result"),
    [
        ("returned states that are not finite", lambda fun, y0, ts: np.full((2, 2), np.nan)),
        ("must return real states, got object", lambda fun, y0, ts: None),
        ("must return real states, got complex", lambda fun, y0, ts: np.ones((2, 2)) * 1j),
        ("came off", lambda fun, y0, ts: {}["came off"]),
        ("does not come back.*If the solver can only go forwards in time.*forwards=True", silent),
    ],
)
def test_what_a_black_box_may_not_do(message, result):
    with pytest.raises(Exception, match=message):
        gradient(ode.blackbox(result))


def test_what_a_traced_black_box_may_not_do():
    with pytest.raises(Exception, match="returned states that are not finite"):
        gradient(ode.blackbox(lambda fun, y0, ts: jnp.stack([y0, jnp.nan * y0]), traced=True))


def test_a_field_that_is_not_finite_does_not_hang():
    """SciPy's methods would look for a first step for ever."""
    with pytest.raises(Exception, match="the field is not finite at the first time, t = 0"):
        gradient(SOLVERS["RK45"], field=lambda t, y, args: jnp.log(-y))
    with pytest.raises(Exception, match="initial state `y0` must be finite"):
        gradient(SOLVERS["RK45"], y0=(1.0, jnp.nan))


def test_derivatives_that_a_black_box_does_not_have():
    def loss(y):
        return jnp.sum(ode.odeint(decay, y, jnp.array([0.0, 1.0]), solver=SOLVERS["RK45"]).ys)

    y = jnp.ones(2)
    for forward in (
        lambda: jax.jvp(loss, (y,), (y,)),
        lambda: jax.jit(lambda y: jax.jvp(loss, (y,), (y,)))(y),
    ):
        with pytest.raises(ArgumentError, match=r"gradients in reverse mode only.*adjoint=Unrolled\(\)"):
            forward()
    for second in (jax.hessian(loss), jax.jacrev(jax.jacrev(loss))):
        with pytest.raises(ArgumentError, match=r"first derivatives only.*adjoint=Unrolled\(\)"):
            second(y)


def test_bad_arguments():
    with pytest.raises(ArgumentError, match=r"a solver, not a class of them: write Tsit5\(\)"):
        ode.blackbox(diffrax.Tsit5)
    with pytest.raises(ArgumentError, match=r'asked for by name: write ode.blackbox\("LSODA"\)'):
        ode.blackbox(scipy.integrate.LSODA)
    for name in ("rtol", "atol", "drift"):
        with pytest.raises(ArgumentError, match=f"{name} must be finite and greater than zero, got -1"):
            ode.blackbox("RK45", **{name: -1})
    with pytest.raises(ArgumentError, match="max_steps must be at least 1"):
        ode.blackbox("RK45", max_steps=0)
    with pytest.raises(ArgumentError, match="throw must be True"):
        ode.odeint(decay, 1.0, [0.0, 1.0], solver=SOLVERS["RK45"], throw=False)
    with pytest.raises(ArgumentError, match="the field holds a random key.*draw the noise before"):
        ode.odeint(
            lambda t, y, key: jax.random.normal(key),
            1.0,
            [0.0, 1.0],
            jax.random.key(0),
            solver=SOLVERS["RK45"],
        )
