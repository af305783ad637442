import jax
import jax.numpy as jnp
import pytest

from backthrough import ode
from backthrough.core import ArgumentError

TS = jnp.array([0.0, 1.0])


def decay(t, y, args):
    return jax.tree_util.tree_map(lambda x: -x, y)


def wrongly(message, field=decay, y0=1.0, ts=TS, **options):
    with pytest.raises(ArgumentError, match=message):
        ode.odeint(field, y0, ts, **options)
    with pytest.raises(ArgumentError, match=message):
        jax.vmap(lambda _: ode.odeint(field, y0, ts, **options).ys)(jnp.zeros(3))


def test_times():
    wrongly(r"ts must run strictly.*ts\[1\] is 1.0 and ts\[2\] is 1.0", ts=[0.0, 1.0, 1.0])
    wrongly(r"ts\[0\] is 0.0 and ts\[1\] is 2.0", ts=[0.0, 2.0, -1.0])
    wrongly(r"ts\[1\] is not finite: nan", ts=[0.0, float("nan")])
    wrongly(r"at least two times along one axis, got shape \(1,\)", ts=[0.0])
    wrongly("ts must be floating-point times, got int", ts=jnp.array([0, 1]))


def test_states():
    wrongly(r"y0\['a'\] must be a floating-point array, got 1", y0={"a": 1})
    wrongly(r"y0 must be a floating-point array, got one of int", y0=jnp.array([1, 2]))
    wrongly(r"y0 is not finite: nan", y0=float("nan"))
    wrongly("y0 has no arrays", y0=[])


def test_fields():
    wrongly(r"returned shape \(2,\) for leaf \['a'\] of the state, whose shape is \(3,\)",
            field=lambda t, y, args: {"a": y["a"][:2]}, y0={"a": jnp.ones(3)})  # fmt: skip
    wrongly("returned int32 for leaf its only leaf", field=lambda t, y, args: y.astype(jnp.int32))
    wrongly("must return the structure of y0", field=lambda t, y, args: (y,))


def test_solvers_and_tolerances():
    wrongly(r"unknown solver 'dopri5' \(known: Dopri5\(\)", solver="dopri5")
    wrongly(r"unknown solver <function Dopri5.*write it with its parentheses", solver=ode.Dopri5)
    wrongly(r"unknown adjoint 'discrete' \(known: Discrete\(\)", adjoint="discrete")
    wrongly("rtol must be finite and greater than zero, got 0.0", solver=ode.Dopri5(0.0))
    wrongly("atol must be finite and greater than zero, got -1.0", solver=ode.Dopri5(1e-3, -1.0))
    wrongly("rtol must be at least .* in float.*enable double", solver=ode.Dopri5(1e-17))
    wrongly("max_steps must be at least 1, got 0", max_steps=0)
    with pytest.raises(ArgumentError, match="n_steps must be at least 1"):
        ode.RK4(0)


def test_too_little_memory():
    def loss(y0):
        return ode.odeint(decay, y0, TS, adjoint=ode.Discrete(100)).ys.sum()

    with pytest.raises(ArgumentError, match=r"Discrete\(memory=100\) is too little: 4096 steps of 9 entries"):
        jax.grad(loss)(jnp.ones(9))


def test_derivatives_that_a_mode_does_not_have():
    def loss(y0):
        return ode.odeint(decay, y0, TS).ys.sum()

    with pytest.raises(ArgumentError, match="reverse mode only.*adjoint=Unrolled"):
        jax.jit(lambda y: jax.jvp(loss, (y,), (y,)))(1.0)
    with pytest.raises(ArgumentError, match="first derivatives only.*adjoint=Unrolled"):
        jax.hessian(loss)(1.0)


def test_solves_that_fail():
    stop = {"max_steps": 3, "solver": ode.Dopri5(1e-4)}

    def fast(t, y, args):
        return jnp.cos(50 * t) * y

    with pytest.raises(ode.SolveError, match=r"stopped at t = 0\.\d+: max_steps were not enough") as caught:
        ode.odeint(fast, 1.0, TS, **stop)
    assert caught.value.status == ode.Status.MAX_STEPS
    solution = ode.odeint(fast, 1.0, jnp.array([0.0, 1e-3, 1.0]), **stop, throw=False)
    assert solution.status == ode.Status.MAX_STEPS
    assert jnp.isfinite(solution.ys[:2]).all()
    assert jnp.isnan(solution.ys[2])
    with pytest.raises(Exception, match="the solve stopped early: max_steps were not enough"):
        jax.block_until_ready(jax.jit(lambda y: ode.odeint(fast, y, TS, **stop).ys)(1.0))
    with pytest.raises(ode.SolveError, match=r"t = (0\.99|1).*(resolve|not finite)"):
        ode.odeint(lambda t, y, args: y**2, 1.0, jnp.array([0.0, 2.0]))
    with pytest.raises(ode.SolveError, match="t = 0: the field returned values that are not finite"):
        ode.odeint(lambda t, y, args: jnp.log(-y), 1.0, TS)


def test_one_failure_among_lanes():
    def blow_up(t, y, rate):
        return rate * y**2

    rates = jnp.linspace(0.0, 2.0, 20)
    solution = jax.vmap(
        lambda rate: ode.odeint(blow_up, 1.0, jnp.array([0.0, 0.9]), rate, throw=False, max_steps=500)
    )(rates)
    good = rates < 1 / 0.9
    assert ((solution.status == ode.Status.DONE) == good).all()
    assert (jnp.isnan(solution.ys[:, -1]) == ~good).all()
    assert jnp.allclose(solution.ys[good, -1], 1 / (1 - 0.9 * rates[good]), rtol=1e-3)
    with pytest.raises(Exception, match="the solve stopped early"):
        jax.block_until_ready(
            jax.jit(
                jax.vmap(lambda rate: ode.odeint(blow_up, 1.0, jnp.array([0.0, 0.9]), rate, max_steps=500).ys)
            )(rates)
        )
