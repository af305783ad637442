from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from backthrough.core import ArgumentError
from ode.problems import double, relative, van_der_pol

N = 3
TS = jnp.array([[0.0, 1.0, 2.0], [0.5, 1.5, 0.0], [3.0, 2.0, 1.0]])
MASK = jnp.array([[True, True, True], [True, True, False], [True, True, True]])
Y0, MU = jnp.array([[2.0, 0.0], [1.0, 0.5], [0.3, -0.2]]), jnp.array([0.5, 1.0, 2.0])
RTOL = jnp.array([1e-6, 1e-4, 1e-8])


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


@partial(jax.jit, static_argnums=5)
def alone(y, mu, w, ts, rtol, make):
    """One example, with its own times and tolerance, and the gradients of a loss."""

    def loss(y, mu, w):
        found = ode.odeint(van_der_pol, y, ts, (mu, w), solver=make(rtol, 1e-7))
        return jnp.sum(jnp.sin(found.ys)), found

    gradients, found = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(y, mu, w)
    return found, gradients


@pytest.mark.parametrize("make", [ode.Bosh3, pytest.param(ode.Dopri5, marks=pytest.mark.slow)])
def test_every_example_is_solved_as_if_alone(make):
    def loss(y0, mu, w):
        options = {"args_axes": (0, None), "mask": MASK, "solver": make(RTOL, 1e-7)}
        found = ode.odeint_batch(van_der_pol, y0, TS.astype(float), (mu, w), **options)
        return jnp.sum(jnp.sin(found.ys)), found

    y0, mu, w = Y0.astype(float), MU.astype(float), jnp.array(1.0)
    gradient, found = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(y0, mu, w)
    shared = 0.0
    for i in range(N):
        ts = TS[i][np.asarray(MASK[i])].astype(float)
        one, (to_y, to_mu, to_w) = alone(y0[i], mu[i], w, ts, RTOL[i].astype(float), make)
        n = one.ys.shape[0]
        assert relative(found.ys[i, :n], one.ys) < 1e-12
        assert (found.ys[i, n:] == 0).all()
        assert found.stats.accepted[i] == one.stats.accepted
        assert relative(gradient[0][i], to_y) < 1e-9
        assert relative(gradient[1][i], to_mu) < 1e-9
        shared += to_w
    assert relative(gradient[2], shared) < 1e-9


def test_times_for_all_and_fixed_steps():
    found = ode.odeint_batch(lambda t, y, args: {"x": -y["x"]}, {"x": jnp.ones((4, 2))},
                             jnp.array([0.0, 1.0]), solver=ode.RK4(20))  # fmt: skip
    assert relative(found.ys["x"][:, -1], jnp.full((4, 2), jnp.exp(-1.0))) < 1e-6


def test_failures_are_named():
    def blow_up(t, y, rate):
        return rate * y**2

    ts, rates = jnp.array([0.0, 0.9]), jnp.array([0.5, 2.0, 1.0, 3.0])
    options = {"args_axes": 0, "max_steps": 1000, "solver": ode.Bosh3()}
    with pytest.raises(
        ode.SolveError, match=r"2 of 4 solves failed \(examples 1, 3\); example 1 stopped at t"
    ):
        ode.odeint_batch(blow_up, jnp.ones(4), ts, rates, **options)
    found = ode.odeint_batch(blow_up, jnp.ones(4), ts, rates, **options, throw=False)
    assert jnp.isnan(found.ys[:, -1]).tolist() == [False, True, False, True]
    with pytest.raises(Exception, match="the solve stopped early"):
        jax.jit(lambda y: ode.odeint_batch(blow_up, y, ts, rates, **options).ys)(
            jnp.ones(4)
        ).block_until_ready()


def test_traced_masks_and_times():
    def solve(ts, mask):
        options = {"mask": mask, "solver": ode.RK4(4), "throw": False}
        return ode.odeint_batch(lambda t, y, args: -y, jnp.ones(3), ts, **options).status

    gap = MASK.at[1].set(jnp.array([True, False, True]))
    short = MASK.at[2].set(jnp.array([True, False, False]))
    solve = jax.jit(solve)
    wrong, done = ode.Status.TIMES, ode.Status.DONE
    assert solve(TS, MASK).tolist() == [done, done, done]
    assert solve(TS, gap).tolist() == [done, wrong, done]
    assert solve(TS, short).tolist() == [done, done, wrong]
    assert solve(TS.at[0, 1].set(5.0), MASK).tolist() == [wrong, done, done]


def test_what_it_refuses():
    def wrongly(message, y0=None, ts=((0.0, 1.0),) * 3, field=lambda t, y, args: y, **options):
        y0 = jnp.ones(3) if y0 is None else y0
        with pytest.raises(ArgumentError, match=message):
            ode.odeint_batch(field, y0, ts, **options)
        with pytest.raises(ArgumentError, match=message):
            jax.jit(lambda _: ode.odeint_batch(field, y0, ts, **options).ys)(0.0)

    wrongly(
        r"ts has rows of \[2, 3\] times: fill them up.*mask", ts=[[0.0, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0]]
    )
    wrongly(r"ts must have shape \(times,\) or \(3, times\), got \(2, 2\)", ts=jnp.ones((2, 2)))
    wrongly(r"example 1: ts must run strictly", ts=[[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    wrongly("mask needs times for each example", ts=jnp.array([0.0, 1.0]), mask=jnp.ones((3, 2), bool))
    wrongly(r"mask must be true or false.*shape \(3, 2\), got", mask=jnp.ones((3, 2)))
    wrongly(
        r"mask\[1\] must be true for the first times, at least two",
        mask=jnp.ones((3, 2), bool).at[1, 0].set(False),
    )
    wrongly(r"y0 must have a leading axis of examples, got shape \(\)", y0=1.0)
    wrongly("leaves of y0 must have the same number of examples", y0={"a": jnp.ones(3), "b": jnp.ones(2)})
    wrongly(r"rtol must be one number or have shape \(3,\), got \(2,\)", solver=ode.Dopri5(jnp.ones(2)))
    wrongly(
        "atol must be finite and greater than zero, got -1",
        solver=ode.Dopri5(1e-3, jnp.array([1e-3, -1.0, 1e-3])),
    )
    wrongly(r"ts must hold numbers, got", ts=[[0.0, 1.0], 3.0, [1.0, 2.0]])
    wrongly(r"mask must hold numbers, got", mask=[[True], [True, True], [True]])
    axes = "args_axes must say which axis of args is that of the 3 examples, got "
    wrongly(axes + "0: .*inconsistent sizes", args=jnp.ones(4), args_axes=0)
    wrongly(axes + "0: .*rank should be at least 1", args=2.0, args_axes=0)
    wrongly(axes + r"\(0, 0\): pytree structure", args=(1.0,), args_axes=(0, 0))
    wrongly(r"callable as field\(t, y, args\), but takes", args=None, field=lambda t, y: y)
    wrongly("solver must not be a black box", solver=ode.blackbox("LSODA"))
