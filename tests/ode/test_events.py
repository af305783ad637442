"""Events against closed forms: a falling ball, its bounces, and a turning phase."""

import jax
import jax.numpy as jnp
import pytest

from backthrough import ode
from backthrough.core import ArgumentError
from ode.problems import double, relative

slow = pytest.mark.slow
ADJOINTS = [ode.Discrete(), ode.Continuous(), ode.Interpolated(), ode.Backsolve(), ode.Unrolled()]
QUICK = (ode.Discrete(), ode.Unrolled())


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def fall(t, y, gravity):
    return jnp.stack([y[1], -gravity])


def height(t, y, args):
    return y[0]


def drop(h, v, gravity, adjoint=None, solver=None, **options):
    return ode.odeint_event(
        fall, jnp.stack([h, v]), [0.0, 50.0], gravity, event=height, direction=-1, adjoint=adjoint,
        solver=solver or ode.Bosh3(1e-8, 1e-8), max_steps=64, **options,
    )  # fmt: skip


def closed(h, v, gravity):
    """When it lands, and how fast: (v + sqrt(v^2 + 2 g h)) / g and -sqrt(v^2 + 2 g h)."""
    speed = jnp.sqrt(v**2 + 2 * gravity * h)
    return jnp.stack([(v + speed) / gravity, -speed])


START = (jnp.array(1.3), jnp.array(0.7), jnp.array(9.81))


@pytest.mark.parametrize(
    ("adjoint", "solver"),
    [(adjoint, ode.Bosh3) for adjoint in QUICK]
    + [pytest.param(adjoint, ode.Dopri5, marks=slow) for adjoint in ADJOINTS],
)
def test_a_falling_ball(adjoint, solver):
    def landing(*start):
        found = drop(*start, adjoint=adjoint, solver=solver(1e-8, 1e-8))
        return jnp.stack([found.t, found.y[1]])

    start = tuple(jnp.array(float(x)) for x in START)
    found, jacobian = jax.jit(lambda *a: (landing(*a), jax.jacrev(landing, argnums=(0, 1, 2))(*a)))(*start)
    assert relative(found, closed(*start)) < 1e-9
    for ours, exact in zip(jacobian, jax.jacrev(closed, argnums=(0, 1, 2))(*start), strict=True):
        assert relative(ours, exact) < 1e-7


@pytest.mark.slow
def test_forward_mode_and_second_derivatives_through_unrolled():
    def landing(*start):
        return drop(*start, adjoint=ode.Unrolled()).t

    start = tuple(jnp.array(float(x)) for x in START)
    exact = jax.hessian(lambda *a: closed(*a)[0], argnums=(0, 1, 2))(*start)
    ours = jax.jit(jax.hessian(landing, argnums=(0, 1, 2)))(*start)
    assert relative(jnp.array(ours), jnp.array(exact)) < 1e-6
    _, tangent = jax.jvp(landing, start, (1.0, 1.0, 1.0))
    expected = jax.jvp(lambda *a: closed(*a)[0], start, (1.0, 1.0, 1.0))[1]
    assert relative(tangent, expected) < 1e-8


@pytest.mark.parametrize("adjoint", [ode.Backsolve(), pytest.param(ode.Discrete(), marks=slow)])
def test_a_bouncing_ball(adjoint):
    """Every bounce keeps e of the speed: flights are a geometric series, and so are their derivatives."""

    def time(h, e, n_bounces):
        def bounce(carry, _):
            t, y = carry
            found = ode.odeint_event(
                fall, y, jnp.stack([t, t + 9.0]), 9.81, event=height, direction=-1,
                solver=ode.Bosh3(1e-8, 1e-8), adjoint=adjoint,
            )  # fmt: skip
            return (found.t, jnp.stack([jnp.zeros_like(e), -e * found.y[1]])), found.t

        return jax.lax.scan(bounce, (jnp.array(0.0), jnp.stack([h, 0.0 * h])), None, length=n_bounces)[1]

    def closed_times(h, e, n_bounces):
        first = jnp.sqrt(2 * h / 9.81)
        flights = 2 * first * e ** jnp.arange(1, n_bounces)
        return first + jnp.concatenate([jnp.zeros(1), jnp.cumsum(flights)])

    h, e = jnp.array(2.0), jnp.array(0.8)

    @jax.jit
    def look(h, e):
        times, pull = jax.vjp(lambda h, e: time(h, e, 4), h, e)
        return times, jax.vmap(pull)(jnp.eye(4))

    ours = look(h, e)
    exact = (closed_times(h, e, 4), jax.jacrev(closed_times, argnums=(0, 1))(h, e, 4))
    assert relative(ours[0], exact[0]) < 1e-8
    for a, b in zip(ours[1], exact[1], strict=True):
        assert relative(a, b) < 1e-7


def test_what_the_event_depends_on_and_examples_of_a_batch():
    """sin(t + phase) reaches `level` at asin(level) - phase; each example has its own; time may run back."""

    def when(phase, level, end):
        def turn(t, y, args):
            return {"sin": y["cos"], "cos": -y["sin"]}

        y0 = {"sin": jnp.sin(phase), "cos": jnp.cos(phase)}
        return ode.odeint_event(
            turn, y0, jnp.stack([0.0, end]), event=lambda t, y, args: y["sin"] - level,
            solver=ode.Bosh3(1e-9, 1e-9), max_steps=8192,
        ).t  # fmt: skip

    phase, level = jnp.linspace(-1.0, 0.0, 5), jnp.linspace(0.3, 0.8, 5)
    lanes = (jnp.append(phase, phase[0]), jnp.append(level, level[0]), jnp.array([9.0] * 5 + [-9.0]))
    t, (to_phase, to_level) = jax.jit(jax.vmap(jax.value_and_grad(when, argnums=(0, 1))))(*lanes)
    slope = 1 / jnp.sqrt(1 - level**2)
    assert relative(t[:5], jnp.arcsin(level) - phase) < 1e-8
    assert relative(t[5], -jnp.pi - jnp.arcsin(level[0]) - phase[0]) < 1e-8
    assert relative(to_phase, -jnp.ones(6)) < 1e-7
    assert relative(to_level[:5], slope) < 1e-7
    assert relative(to_level[5], -slope[0]) < 1e-7


def test_events_that_do_not_happen():
    up = {"event": height, "direction": -1, "solver": ode.Bosh3()}
    with pytest.raises(ode.SolveError, match="the event has not happened by the last time") as caught:
        ode.odeint_event(fall, jnp.array([1.0, 0.0]), [0.0, 0.1], 9.81, **up)
    assert caught.value.status == ode.Status.NO_EVENT
    with pytest.raises(Exception, match="stopped early: the event has not happened by the last time"):
        jax.jit(lambda y: ode.odeint_event(fall, y, [0.0, 0.1], 9.81, **up).t)(
            jnp.array([1.0, 0.0])
        ).block_until_ready()

    def until(end):
        return ode.odeint_event(fall, jnp.array([1.0, 0.0]), jnp.stack([0.0, end]), 9.81, **up, throw=False)

    found = jax.jit(jax.vmap(until))(jnp.array([0.1, 9.0]))
    assert found.fired.tolist() == [False, True]
    assert found.t[0] == 0.1
    assert relative(found.y[0], jnp.array([1 - 9.81 * 0.005, -0.981])) < 1e-6


def test_events_that_cannot_be_told():
    def throw_up(event, start):
        y0 = jnp.array(start)
        ode.odeint_event(fall, y0, [0.0, 9.0], 9.81, event=event, solver=ode.Bosh3())

    with pytest.raises(ode.SolveError, match="t = 0: the event function is zero at the first.*direction=1"):
        throw_up(height, [0.0, 1.0])
    with pytest.raises(ode.SolveError, match="event function returned values that are not finite") as caught:
        throw_up(lambda t, y, args: jnp.sqrt(y[0] - 0.5) - 0.1, [1.0, 0.0])
    assert caught.value.status == ode.Status.EVENT_NOT_FINITE


def test_bad_events():
    def wrongly(message, y0=None, ts=(0.0, 9.0), event=height, **options):
        y0 = jnp.ones(2) if y0 is None else y0
        with pytest.raises(ArgumentError, match=message):
            ode.odeint_event(fall, y0, jnp.array(ts), 9.81, event=event, **options)
        with pytest.raises(ArgumentError, match=message):
            jax.vmap(lambda y: ode.odeint_event(fall, y, jnp.array(ts), 9.81, event=event, **options).t)(
                jnp.ones((3, 2))
            )

    wrongly(r"event must return one real number, got shape \(2,\)", event=lambda t, y, args: y)
    wrongly(r"event must return one real number, got shape \(\) of bool", event=lambda t, y, args: y[0] < 0)
    wrongly("event must return one real number, got None", event=lambda t, y, args: None)
    wrongly("event must return one real number, got 1:", event=lambda t, y, args: 1)
    wrongly("event must return one real number, got 'x'", event=lambda t, y, args: "x")
    wrongly(r"callable as event\(t, y, args\), but takes \(t, y\)", event=lambda t, y: y[0])
    wrongly("event must be a function", event=None)
    wrongly("direction must be -1, 0 or 1, got 2", direction=2)
    wrongly("ts must hold two times, the first and the one to give up at, got 3", ts=(0.0, 1.0, 2.0))
    wrongly("solver must be one that chooses its steps", solver=ode.RK4(3))
