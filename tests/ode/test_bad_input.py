import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from backthrough import ode
from backthrough.core import ArgumentError

TS = jnp.array([0.0, 1.0])


def decay(t, y, args):
    return jax.tree_util.tree_map(lambda x: -x, y)


def wrongly(message, field=decay, y0=1.0, ts=TS, **options):
    with pytest.raises(ArgumentError, match=message):
        ode.odeint(field, y0, ts, **options)
    for transform in (jax.vmap, jax.jit):
        with pytest.raises(ArgumentError, match=message):
            transform(lambda _: ode.odeint(field, y0, ts, **options).ys)(jnp.zeros(3))


def test_times():
    wrongly(r"ts must run strictly.*ts\[1\] is 1.0 and ts\[2\] is 1.0", ts=[0.0, 1.0, 1.0])
    wrongly(r"ts\[0\] is 0.0 and ts\[1\] is 2.0", ts=[0.0, 2.0, -1.0])
    wrongly(r"ts\[1\] is not finite: nan", ts=[0.0, float("nan")])
    wrongly(r"at least two times along one axis, got shape \(1,\)", ts=[0.0])
    wrongly("ts must be floating-point times, got int", ts=jnp.array([0, 1]))
    wrongly("ts must be floating-point times, got int", ts=[0, 1])
    wrongly("ts must be floating-point times, got complex", ts=[0.0, 1j])
    wrongly("ts must hold numbers, got 'soon'", ts="soon")
    wrongly(r"ts must hold numbers, got \['0', '1'\]", ts=["0", "1"])
    wrongly(r"ts must hold numbers, got \[0.0, \[1.0, 2.0\]\]", ts=[0.0, [1.0, 2.0]])


def test_a_list_of_times_may_hold_traced_ones():
    end = jax.jit(lambda t: ode.odeint(decay, 1.0, [0.0, t], solver=ode.RK4(20)).ys[-1])(1.0)
    assert jnp.allclose(end, jnp.exp(-1.0), rtol=1e-5)


BAD_TIMES = [
    [0.0, 1.0, 0.5], [0.0, 2.0, -1.0], [1.0, 0.0, 1.0],
    [0.0, float("nan"), 1.0], [float("nan"), 1.0, 2.0], [0.0, 1.0, float("inf")],
]  # fmt: skip
BAD_TOLERANCES = [
    (-1e-3, 1e-3),
    (0.0, 1e-3),
    (1e-3, 0.0),
    (1e-3, float("nan")),
    (float("inf"), 1e-3),
    (1e-18, 1e-3),
]


def test_what_can_only_be_seen_when_it_runs():
    """Times and tolerances that are traced: every wrong one among lanes has its status, and no states."""

    def one(ts, tolerances):
        solver = ode.Bosh3(tolerances[0], tolerances[1])
        found = ode.odeint(decay, 1.0, ts, solver=solver, throw=False, max_steps=50)
        return found.status, found.ys

    good_times, good = [0.0, 0.5, 1.0], (1e-3, 1e-3)
    ts = jnp.array([good_times, *BAD_TIMES, *[good_times] * len(BAD_TOLERANCES)])
    tolerances = jnp.array([good, *[good] * len(BAD_TIMES), *BAD_TOLERANCES])
    status, ys = jax.jit(jax.vmap(one))(ts, tolerances)
    expected = [ode.Status.DONE] + len(BAD_TIMES) * [ode.Status.TIMES]
    assert status.tolist() == expected + len(BAD_TOLERANCES) * [ode.Status.TOLERANCES]
    assert jnp.isnan(ys[1:, 1:]).all()
    assert jnp.isfinite(ys[0]).all()

    repeating = jnp.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # padding: the same state again
    status, ys = jax.jit(jax.vmap(one, (0, None)))(repeating, jnp.array(good))
    assert status.tolist() == [ode.Status.DONE] * 2
    assert (ys[0, 0] == ys[0, 1]) & (ys[1, 1] == ys[1, 2])

    fixed = jax.jit(lambda ts: ode.odeint(decay, 1.0, ts, solver=ode.RK4(3)).ys)
    with pytest.raises(Exception, match="ts must be finite, and run forwards or backwards without turning"):
        jax.block_until_ready(fixed(jnp.array(BAD_TIMES[0])))


def test_states():
    wrongly(r"y0\['a'\] must be a floating-point array, got 1", y0={"a": 1})
    wrongly(r"y0 must be a floating-point array, got one of int", y0=jnp.array([1, 2]))
    wrongly(r"y0 is not finite: nan", y0=float("nan"))
    wrongly("y0 has no arrays", y0=[])
    wrongly("y0 has no entries: all of its arrays are empty", y0={"a": jnp.zeros((0, 3))})
    wrongly("y0 must be a floating-point array, got 'a'", y0="a")
    wrongly("y0 must be a floating-point array, got one of object", y0=np.array(["a", 1.0], dtype=object))
    wrongly("y0 must be a floating-point array, got one of key", y0=jax.random.key(0))
    wrongly("must have one precision, got float16, float(32|64)",
            y0={"a": jnp.ones(2, jnp.float16), "b": jnp.ones(2)})  # fmt: skip
    wrongly("rtol must be at least .* in bfloat16, got 1.0e-05; give y0 in float32",
            y0=jnp.ones(2, jnp.bfloat16))  # fmt: skip


def test_fields():
    wrongly(r"returned shape \(2,\) for leaf \['a'\] of the state, whose shape is \(3,\)",
            field=lambda t, y, args: {"a": y["a"][:2]}, y0={"a": jnp.ones(3)})  # fmt: skip
    wrongly(
        "the field returned int32 for the state, which is float(32|64)",
        field=lambda t, y, args: y.astype(jnp.int32),
    )
    wrongly("must return the structure of y0", field=lambda t, y, args: (y,))
    wrongly("must return the structure of y0", field=lambda t, y, args: tuple(y), y0=[1.0, 2.0])
    wrongly("must return the structure of y0", field=lambda t, y, args: None)
    wrongly("the field returned 'x' for the state", field=lambda t, y, args: "x")
    wrongly(r"callable as field\(t, y, args\), but takes \(t, y\): too many", field=lambda t, y: y)
    wrongly(r"but takes \(t, y, a, b\): missing a required argument: 'b'", field=lambda t, y, a, b: y)


def test_args_may_hold_anything():
    field = lambda t, y, args: -args["rate"] * y if args["mode"] == "decay" else y  # noqa: E731
    args = {"mode": "decay", "rate": jnp.array(1), "none": None}
    end = ode.odeint(field, 1.0, TS, args, solver=ode.RK4(20)).ys[-1]
    assert jnp.allclose(end, jnp.exp(-1.0), rtol=1e-5)


def test_solvers_and_tolerances():
    wrongly(r"unknown solver 'dopri5' \(known: Dopri5\(\)", solver="dopri5")
    wrongly(r"unknown solver <function Dopri5.*write it with its parentheses", solver=ode.Dopri5)
    wrongly(r"your own goes through ode.blackbox: write ode.blackbox\(wrongly\)", solver=wrongly)
    wrongly(r'SciPy goes through ode.blackbox: write ode.blackbox\("LSODA"\)', solver="LSODA")
    wrongly(r'SciPy goes through ode.blackbox: write ode.blackbox\("BDF"\)', solver=scipy.integrate.BDF)
    wrongly(r"unknown adjoint 'discrete' \(known: Discrete\(\)", adjoint="discrete")
    wrongly("rtol must be finite and greater than zero, got 0.0", solver=ode.Dopri5(0.0))
    wrongly("atol must be finite and greater than zero, got -1.0", solver=ode.Dopri5(1e-3, -1.0))
    wrongly("rtol must be at least .* in float.*(enable double|loosen it)", solver=ode.Dopri5(1e-17))
    wrongly("rtol must be one number, got shape .*odeint_batch", solver=ode.Dopri5(jnp.ones(2)))
    wrongly("max_steps must be at least 1, got 0", max_steps=0)
    wrongly("max_steps must be at least 1, got -1", max_steps=-1)
    wrongly("memory must be finite and greater than zero, got -1", adjoint=ode.Discrete(-1))
    wrongly("n_steps must be at least 1, got -2", solver=ode.FixedStep(ode.RK4(1).tableau, -2))
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
    ts, options = jnp.array([0.0, 0.9]), {"solver": ode.Bosh3(1e-5), "max_steps": 1000}
    solution = jax.jit(jax.vmap(lambda rate: ode.odeint(blow_up, 1.0, ts, rate, throw=False, **options)))(
        rates
    )
    good = rates < 1 / 0.9
    assert ((solution.status == ode.Status.DONE) == good).all()
    assert (jnp.isnan(solution.ys[:, -1]) == ~good).all()
    assert jnp.allclose(solution.ys[good, -1], 1 / (1 - 0.9 * rates[good]), rtol=1e-3)
    with pytest.raises(Exception, match="the solve stopped early"):
        jax.block_until_ready(
            jax.jit(jax.vmap(lambda rate: ode.odeint(blow_up, 1.0, ts, rate, **options).ys))(rates)
        )
