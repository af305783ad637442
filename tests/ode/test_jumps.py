"""Fields that jump, against closed forms and SciPy from jump to jump."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from backthrough.core import ArgumentError
from backthrough.ode.checks import check_stop_at_ts
from ode.jump_family import decay, error_in_tolerances, family, in_pieces, solve
from ode.problems import double, relative

slow = pytest.mark.slow
with double():
    TIMES, WINDOW = jnp.array([0.0, 5.0, 5.01, 10.0]), jnp.array([5.0, 5.01])
TOLERANCE = 1e-6
CONTINUOUS = [ode.Continuous(), ode.Interpolated(), ode.Backsolve(drift=1e6)]


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def pulse(t, y, window):
    """-y + 100 within a window."""
    return -y + jnp.where((t > window[0]) & (t < window[1]), 100.0, 0.0)


def closed(window, ts, start=0.0, t0=0.0):
    """Its solution."""
    inside = [jnp.exp(jnp.minimum(edge, ts) - ts) for edge in window]
    return start * jnp.exp(-(ts - t0)) + 100 * (inside[1] - inside[0])


def after(window, adjoint=None, solver=None, ts=(0.0, 10.0), start=0.0, **options):
    """The states of a pulse."""
    return ode.odeint(
        pulse, start, jnp.asarray(ts), window, jump_ts=window, adjoint=adjoint,
        solver=solver or ode.Dopri5(TOLERANCE, TOLERANCE), max_steps=128, **options,
    ).ys  # fmt: skip


def test_a_pulse_is_not_stepped_over():
    with_jumps = after(WINDOW, ts=TIMES)
    assert relative(with_jumps, closed(WINDOW, TIMES)) < 10 * TOLERANCE
    without = ode.odeint(pulse, 0.0, TIMES, WINDOW).ys
    assert float(without[-1]) == 0.0  # which is why there is jump_ts


def test_in_single_precision_and_in_a_pytree():
    with jax.enable_x64(False):
        window = jnp.array([5.0, 5.01], jnp.float32)
        field = lambda t, y, w: {"a": pulse(t, y["a"], w), "b": -y["b"]}  # noqa: E731
        start = {"a": jnp.zeros(2), "b": jnp.ones(())}
        found = ode.odeint(field, start, TIMES.astype(jnp.float32), window, jump_ts=window).ys
        assert found["a"].dtype == jnp.float32
        exact = np.asarray(closed(window.astype(jnp.float32), TIMES.astype(jnp.float32)))
        # a window's width is only known to a rounding of the time, 5e-7 of 0.01
        assert np.abs(np.asarray(found["a"])[:, 0] - exact).max() < 2e-4
        assert relative(found["b"], np.exp(-np.asarray(TIMES))) < 1e-4


def test_time_may_run_backwards():
    found = ode.odeint(pulse, 0.0, TIMES[::-1], WINDOW, jump_ts=WINDOW, solver=ode.Dopri5(1e-8, 1e-8)).ys
    exact = -100 * (np.exp(0.01) - 1) * np.exp(5.0)
    assert relative(found[-1], exact) < 1e-6
    assert relative(found[2], -100 * (np.exp(0.01) - 1)) < 1e-6


@pytest.mark.parametrize(
    "name", ["pulse 0.0001 5", "seen at the jumps", "uneven linear", "backwards", "stiff"]
)
def test_against_pieces(name):
    case = family()[name]
    found = jax.jit(lambda jumps: solve(case, jumps, TOLERANCE))(jnp.asarray(case.jumps))
    assert error_in_tolerances(found, in_pieces(case), TOLERANCE) < 20


@pytest.mark.parametrize(
    "options",
    [
        {"adjoint": ode.Discrete()},
        pytest.param({"solver": ode.Rodas5P(TOLERANCE, TOLERANCE)}, marks=slow),
        *(pytest.param({"adjoint": adjoint}, marks=slow) for adjoint in [*CONTINUOUS, ode.Unrolled()]),
    ],
)
def test_gradients_by_jumps_and_times(options):
    ts = jnp.array([3.0, 5.005, 7.0])
    weights = jnp.array([0.0, 1.0, 2.0])

    def ours(window, ts, start):
        return jnp.sum(weights * after(window, ts=ts, start=start, **options))

    def exact(window, ts, start):
        return jnp.sum(weights * closed(window, ts, start, ts[0]))

    arguments = (WINDOW, ts, jnp.array(2.0))
    found = jax.jit(jax.grad(ours, argnums=(0, 1, 2)))(*arguments)
    for a, b in zip(found, jax.grad(exact, argnums=(0, 1, 2))(*arguments), strict=True):
        assert (np.abs(a - b) < 200 * TOLERANCE * np.maximum(np.abs(b), 1)).all()


@slow
def test_second_derivatives_and_forward_mode():
    def last(window):
        return after(window, adjoint=ode.Unrolled())[-1]

    def exact(window):
        return closed(window, jnp.array(10.0))

    hessian = jax.jit(jax.jacfwd(jax.jacrev(last)))(WINDOW)
    assert relative(hessian, jax.hessian(exact)(WINDOW)) < 1e-4


def test_each_example_has_its_own():
    windows = jnp.array([[1.0, 1.5], [5.0, 5.01], [9.0, jnp.inf], [jnp.inf, jnp.inf]])

    def last(window):
        return after(window)[-1]

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(last)))(windows)
    for window, value, slope in zip(windows, values, slopes, strict=True):
        alone, own = jax.value_and_grad(last)(window)
        assert abs(float(value - alone)) < 1e-12
        assert np.abs(np.asarray(slope - own)).max() < 1e-9
        assert abs(float(value - closed(window, jnp.array(10.0)))) < 20 * TOLERANCE
    batch = ode.odeint_batch(
        pulse, jnp.zeros(4), jnp.array([0.0, 10.0]), windows, args_axes=0, jump_ts=windows,
        solver=ode.Dopri5(TOLERANCE, TOLERANCE),
    )  # fmt: skip
    assert relative(batch.ys[:, -1], values) < 1e-9


@slow
def test_many_lanes_that_drop_out():
    windows = jnp.stack([jnp.linspace(1, 9, 20), jnp.linspace(1, 9, 20) + 0.02], axis=1)
    slopes = jax.jit(jax.vmap(jax.grad(lambda window: after(window)[-1])))(windows)
    exact = jax.vmap(jax.grad(lambda window: closed(window, jnp.array(10.0))))(windows)
    assert (np.abs(slopes - exact).max(axis=1) < 100 * TOLERANCE * np.abs(exact).max(axis=1)).all()


@slow
def test_jumps_without_effect():
    field = lambda t, y, args: -y * jnp.cos(t)  # noqa: E731
    ts = jnp.array([0.0, 1.0, 3.0])
    plain = ode.odeint(field, 1.0, ts, solver=ode.Dopri5(1e-10, 1e-10)).ys
    jumps = jnp.array([2.0, -1.0, jnp.inf, 0.0, 2.0, 3.0, -jnp.inf, 7.0, 1.0])
    found = ode.odeint(field, 1.0, ts, solver=ode.Dopri5(1e-10, 1e-10), jump_ts=jumps)
    assert relative(found.ys, plain) < 1e-9
    slope = jax.grad(
        lambda jumps: ode.odeint(field, 1.0, ts, solver=ode.Dopri5(1e-10, 1e-10), jump_ts=jumps).ys[-1]
    )(jumps)
    assert np.abs(np.asarray(slope)).max() < 1e-8  # a smooth field does not mind where it is stopped
    assert float(found.stats.t_reached) == pytest.approx(3.0, abs=1e-12)
    none = ode.odeint(field, 1.0, ts, solver=ode.Dopri5(1e-10, 1e-10), jump_ts=jnp.zeros(0))
    assert relative(none.ys, plain) < 1e-12


@pytest.mark.parametrize("edge", [lambda t, at: t > at, lambda t, at: t >= at])
def test_a_jump_at_an_end(edge):
    """Whether the field has its value before or after at the very time of a jump makes no difference."""
    field = lambda t, y, jumps: jnp.where(edge(t, jumps[0]) & ~edge(t, jumps[1]), 1.0, 50.0)  # noqa: E731
    jumps = jnp.array([1.0, 2.0])
    assert relative(ode.odeint(field, 0.0, jnp.array([1.0, 2.0]), jumps, jump_ts=jumps).ys[-1], 1.0) < 1e-12
    over = ode.odeint(field, 0.0, jnp.array([0.0, 3.0]), jumps, jump_ts=jumps).ys[-1]
    assert relative(over, 101.0) < 1e-12


def test_evaluations_are_counted():
    seen = []

    def field(t, y, args):
        jax.debug.callback(lambda t: seen.append(float(t)), t)
        return -y + jnp.where(t > 2.0, 1.0, 0.0)

    stats = ode.odeint(field, 1.0, jnp.array([0.0, 4.0]), jump_ts=jnp.array([2.0])).stats
    jax.effects_barrier()
    assert int(stats.evaluations) == len(seen)
    assert 2.0 not in seen


@slow
def test_a_dose_that_is_added_to_the_state():
    """What the docs do: from dose to dose, with gradients to their times and sizes."""

    def last(times, sizes):
        ends = jnp.append(times[1:], 10.0)

        def until_next(y, dose):
            begin, end, size = dose
            ts = jnp.stack([begin, end])
            found = ode.odeint(lambda t, y, args: -0.3 * y, y + size, ts, solver=ode.Dopri5(1e-9, 1e-9))
            return found.ys[-1], None

        return jax.lax.scan(until_next, jnp.zeros(()), (times, ends, sizes))[0]

    times, sizes = jnp.array([1.0, 4.0, 6.0]), jnp.array([5.0, 2.0, 1.0])
    found = jax.jit(jax.grad(last, argnums=(0, 1)))(times, sizes)
    exact = jax.grad(lambda t, s: jnp.sum(s * jnp.exp(-0.3 * (10 - t))), argnums=(0, 1))(times, sizes)
    for a, b in zip(found, exact, strict=True):
        assert relative(a, b) < 1e-7


def test_steps_no_larger_than_asked():
    stats = ode.odeint(lambda t, y, args: -y, 1.0, jnp.array([0.0, 2.0]), dtmax=0.01).stats
    assert 200 <= int(stats.accepted) <= 202
    each = jax.vmap(lambda h: ode.odeint(pulse, 0.0, jnp.array([0.0, 10.0]), WINDOW, dtmax=h).ys[-1])
    found = each(jnp.array([0.005, jnp.inf]))
    assert relative(found[0], closed(WINDOW, jnp.array(10.0))) < 1e-2
    assert float(found[1]) == 0.0  # nothing made it look
    batch = ode.odeint_batch(
        pulse, jnp.zeros(2), jnp.array([0.0, 10.0]), WINDOW, dtmax=jnp.array([0.005, jnp.inf])
    )
    assert relative(batch.ys[:, -1], found) < 1e-12


def test_steps_that_end_at_the_save_times():
    ts = jnp.linspace(0, 3, 7)
    solver = ode.Dopri8(1e-12, 1e-12)
    found = ode.odeint(lambda t, y, args: -y, 1.0, ts, solver=solver, stop_at_ts=True)
    exact = np.exp(-np.asarray(ts))
    assert relative(found.ys, exact) < 1e-11
    rough = ode.Dopri5(1e-3, 1e-3)
    interpolated = ode.odeint(lambda t, y, args: -y, 1.0, ts, solver=rough)
    stopped = ode.odeint(lambda t, y, args: -y, 1.0, ts, solver=rough, stop_at_ts=True)
    assert int(stopped.stats.accepted) >= 6 > int(interpolated.stats.accepted)

    def total(rate, **options):
        return jnp.sum(ode.odeint(lambda t, y, r: -r * y, 1.0, ts, rate, solver=solver, **options).ys)

    slope = jax.grad(total)(1.3, stop_at_ts=True)
    assert relative(slope, jax.grad(lambda r: jnp.sum(jnp.exp(-r * ts)))(1.3)) < 1e-9


@slow
def test_events():
    def when(jump):
        return ode.odeint_event(
            lambda t, y, jump: jnp.where(t > jump, 5.0, 0.1), 0.0, [0.0, 10.0], jump, jump_ts=jump[None],
            event=lambda t, y, args: y - 1.0,
        )  # fmt: skip

    jump = jnp.array(3.0)
    found = when(jump)
    assert relative(found.t, 3 + 0.7 / 5) < 1e-9
    assert relative(jax.grad(lambda jump: when(jump).t)(jump), 1 - 0.1 / 5) < 1e-7
    assert relative(when(jnp.array(20.0)).t, 10.0) < 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jump_ts": 5.0}, "jump_ts must have one axis"),
        ({"jump_ts": [1.0, float("nan")]}, r"jump_ts\[1\] is nan"),
        ({"jump_ts": ["a"]}, "jump_ts must hold numbers"),
        ({"jump_ts": [True]}, "jump_ts must be times"),
        ({"jump_ts": [0.5 + 0j]}, "jump_ts must be times"),
        ({"jump_ts": [5.0, 5.0 + 2e-15]}, "can hardly tell apart"),
        ({"dtmax": 0.0}, "dtmax must be greater than zero"),
        ({"dtmax": [0.1, 0.2]}, "dtmax must be one number"),
        ({"dtmax": float("nan")}, "dtmax must be greater than zero"),
        ({"jump_ts": [5.0], "solver": ode.RK4(10)}, "jump_ts must be left out with"),
        ({"dtmax": 0.1, "solver": ode.blackbox("RK45")}, "dtmax must be left out with"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ArgumentError, match=message):
        ode.odeint(decay, 1.0, jnp.array([0.0, 10.0]), (jnp.zeros(1), (1.0, 1.0)), **options)


def test_what_is_only_seen_while_tracing():
    def status(jumps, dtmax):
        return ode.odeint(
            pulse, 0.0, jnp.array([0.0, 10.0]), WINDOW, jump_ts=jumps, dtmax=dtmax, throw=False
        ).status

    found = jax.jit(jax.vmap(status))(
        jnp.array([[1.0, jnp.nan], [1.0, 1.0 + 1e-15], [1.0, 1.0], [1.0, 2.0]]),
        jnp.array([1.0, 1.0, 0.0, 1.0]),
    )
    expected = [ode.Status.JUMPS, ode.Status.JUMPS, ode.Status.TOLERANCES, ode.Status.DONE]
    assert found.tolist() == [int(status) for status in expected]
    with pytest.raises(ArgumentError, match="example 1: jump_ts"):
        ode.odeint_batch(pulse, jnp.zeros(2), TIMES, WINDOW, jump_ts=jnp.array([[1.0], [jnp.nan]]))
    with pytest.raises(ArgumentError, match="jump_ts must have shape"):
        ode.odeint_batch(pulse, jnp.zeros(2), TIMES, WINDOW, jump_ts=jnp.zeros((3, 1)))


@pytest.mark.parametrize("adjoint", [ode.Discrete(), pytest.param(ode.Continuous(), marks=slow)])
def test_a_short_pulse_beside_a_large_state(adjoint):
    """In single precision, where the width of a pulse is a few roundings of the time."""
    with jax.enable_x64(False):

        def last(begin, end):
            field = lambda t, y, p: jnp.where((t >= p[0]) & (t < p[1]), 2.0, 0.0) - 1.3 * y  # noqa: E731
            ts, edges = jnp.array([0.1, 3.0]), jnp.stack([begin, end])
            solver = ode.Dopri5(1e-6, 1e-6)
            return ode.odeint(
                field, 100.0, ts, (begin, end), solver=solver, jump_ts=edges, adjoint=adjoint
            ).ys[-1]

        begins = jnp.full(5, 0.7)
        ends = begins + jnp.array([1e-2, 1e-3, 3e-4, 5e-5, 7e-6])
        found = jax.jit(jax.vmap(jax.grad(last, argnums=(0, 1))))(begins, ends)
    for ours, at, sign in zip(found, (begins, ends), (-1, 1), strict=True):
        # beside terms of 130, of which a rounding is 1e-5
        assert np.abs(ours / (sign * 2 * np.exp(-1.3 * (3 - np.asarray(at)))) - 1).max() < 1e-4


@slow
@pytest.mark.parametrize("adjoint", CONTINUOUS)
def test_a_loss_that_does_not_see_the_last_state(adjoint):
    slope = jax.grad(
        lambda jump: ode.odeint(
            lambda t, y, jump: jnp.where(t >= jump, 1.0, 0.0) - y, 0.1, jnp.array([0.0, 1.0, 2.0]), jump,
            jump_ts=jump[None], adjoint=adjoint,
        ).ys[1]
    )(jnp.array(0.5))  # fmt: skip
    assert relative(slope, -np.exp(-0.5)) < 1e-4


def test_a_failure_while_a_gradient_is_taken_is_named():
    def last(jump):
        return ode.odeint(
            lambda t, y, args: -y, 1.0, jnp.array([0.0, 3.0]), jump_ts=jump[None], max_steps=2
        ).ys[-1]

    with pytest.raises(ode.SolveError, match="max_steps were not enough"):
        jax.grad(last)(jnp.array(1.0))


def test_states_of_jumps_that_cannot_be_used_are_nan():
    found = jax.jit(lambda jumps: ode.odeint(lambda t, y, args: -y, 1.0, TIMES, jump_ts=jumps, throw=False))(
        jnp.array([jnp.nan])
    )
    assert int(found.status) == ode.Status.JUMPS
    assert np.isnan(found.ys[1:]).all()


@pytest.mark.parametrize("wrong", ["yes", 1, None, jnp.array(True)])
def test_whether_steps_stop_is_true_or_false(wrong):
    with pytest.raises(ArgumentError, match="stop_at_ts must be True or False"):
        check_stop_at_ts(wrong)
