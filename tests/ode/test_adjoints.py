"""The continuous adjoints against closed forms, and against the discrete one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from backthrough.core import ArgumentError
from ode.problems import Y0, A, double, linear, relative, van_der_pol, weighted, weighted_exactly

ADJOINTS = {
    "Continuous": ode.Continuous(),
    "Interpolated": ode.Interpolated(),
    "Backsolve": ode.Backsolve(),
}
# lanes of oscillators whose errors grow a thousandfold on the way back, and more
LANE_ADJOINTS = {**ADJOINTS, "Backsolve": ode.Backsolve(drift=1e6)}
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def together(tree):
    return jnp.concatenate([jnp.ravel(x) for x in jax.tree_util.tree_leaves(tree)])


@pytest.mark.parametrize(
    ("name", "grid", "solver"),
    [
        ("Continuous", (0.2, 0.5, 0.9, 2.0), ode.Bosh3),
        ("Backsolve", (2.0, 1.5, 1.0, -0.5), ode.Bosh3),
        pytest.param("Continuous", (0.2, 0.5, 0.9, 2.0), ode.Tsit5, marks=slow),
        pytest.param("Backsolve", (2.0, 1.0, -0.5), ode.Dopri5, marks=slow),
        pytest.param("Interpolated", (0.2, 0.5, 0.9, 2.0), ode.Dopri5, marks=slow),
        pytest.param("Continuous", (2.0, 1.0, -0.5), ode.Dopri8, marks=slow),
        pytest.param("Interpolated", (2.0, 1.0, -0.5), ode.Bosh3, marks=slow),
        pytest.param("Backsolve", (0.2, 2.0), ode.Tsit5, marks=slow),
    ],
)
def test_gradients_of_a_linear_system_are_those_of_expm(name, grid, solver):
    def loss(y0, matrix, ts):
        found = ode.odeint(linear, y0, ts, matrix, solver=solver(1e-9, 1e-10), adjoint=ADJOINTS[name])
        return weighted(found.ys)

    arguments = (jnp.array(Y0), jnp.array(A), jnp.array(grid))
    ours = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments)
    exact = weighted_exactly(*arguments)[1]
    for a, b in zip(ours, exact, strict=True):
        assert relative(a, b) < (1e-6 if solver is ode.Bosh3 else 1e-8)


def oscillator(adjoint, mu, end, tolerance=None, solver=None, **options):
    """The gradient of the end of a Van der Pol oscillation."""

    def loss(y, args):
        found = ode.odeint(
            van_der_pol, y, jnp.array([0.0, end]), args, adjoint=adjoint, max_steps=8192,
            solver=solver or ode.Tsit5(tolerance, tolerance), **options,
        )  # fmt: skip
        return found.ys[-1].sum()

    return together(jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.array([2.0, 0.0]), (jnp.array(mu), 1.0)))


@pytest.fixture(scope="module")
def contracting():
    """Van der Pol, mu = 5 until 20: backwards its states explode by 5e68."""
    with double():
        return oscillator(ode.Discrete(), 5.0, 20.0, 1e-11)


@pytest.mark.parametrize(
    "adjoint", [ode.Continuous(checkpoints=2), pytest.param(ode.Interpolated(), marks=slow)]
)
def test_a_problem_that_cannot_be_integrated_backwards(adjoint, contracting):
    """Two checkpoints for twenty stretches of steps: most are found by solving again from far before."""
    assert relative(oscillator(adjoint, 5.0, 20.0, 1e-8), contracting) < 1e-5


def test_backsolve_says_that_it_cannot():
    adjoint, loose = ode.Backsolve(), ode.Bosh3(1e-4, 1e-4)
    with pytest.raises(Exception, match=r"backward solve of Backsolve\(\).*use adjoint=Continuous\(\) or"):
        oscillator(adjoint, 5.0, 20.0, solver=loose)
    assert jnp.isnan(oscillator(adjoint, 5.0, 20.0, solver=loose, throw=False)).all()


def test_backsolve_notices_that_it_has_come_back_to_another_state():
    """Three decades of decay take the state back to where the error has grown a thousand times."""

    def loss(y, drift):
        found = ode.odeint(
            lambda t, y, args: -y + jnp.sin(t), y, jnp.array([0.0, 12.0]), solver=ode.Bosh3(1e-6, 1e-6),
            adjoint=ode.Backsolve(drift),
        )  # fmt: skip
        return found.ys[-1]

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    with pytest.raises(Exception, match="came back to other states than the forward solve went through"):
        gradient(3.0, 1e2)
    assert relative(gradient(3.0, 1e7), jnp.exp(-12.0)) < 1e-4


def test_a_lane_without_a_cotangent_adds_nothing_even_if_it_would_fail():
    """The second lane cannot be solved back, but nothing depends on its end."""

    def first(rate):
        def one(y, speed):
            found = ode.odeint(
                lambda t, y, args: -rate * speed * y, y, jnp.array([0.0, 1.0]), throw=False,
                solver=ode.Bosh3(1e-6, 1e-6), adjoint=ode.Backsolve(drift=10.0),
            )  # fmt: skip
            return found.ys[-1]

        return jax.vmap(one)(jnp.array([0.3, 5.0]), jnp.array([1.0, 30.0]))[0]

    assert relative(jax.jit(jax.grad(first))(1.0), -0.3 * jnp.exp(-1.0)) < 1e-4


def members(n):
    y = jnp.tile(jnp.array([2.0, 0.0]), (n, 1)) + jnp.linspace(0, 1, n)[:, None]
    return y, jnp.exp(jnp.linspace(-1.0, 1.0, n)), jnp.array(1.0), jnp.array([0.0, 0.7, 1.1, 1.9, 2.0])


def oscillators(y, mu, w, ts, adjoint, solver=ode.Dopri5):
    found = ode.odeint(van_der_pol, y, ts, (mu, w), solver=solver(1e-7, 1e-7), adjoint=adjoint)
    return weighted(found.ys)


@pytest.mark.parametrize(
    ("name", "solver"),
    [("Continuous", ode.Bosh3), *(pytest.param(name, ode.Dopri5, marks=slow) for name in ADJOINTS)],
)
def test_lanes_and_what_they_share(name, solver):
    wanted, axes, adjoint = (0, 1, 2, 3), (0, 0, None, None), LANE_ADJOINTS[name]
    y, mu, w, ts = members(3)
    one = jax.jit(jax.grad(oscillators, argnums=wanted), static_argnums=(4, 5))
    alone = [one(y[i], mu[i], w, ts, adjoint, solver) for i in range(3)]
    every = jax.vmap(lambda *a: oscillators(*a, adjoint, solver), axes)
    total = jax.jit(jax.grad(lambda *a: every(*a).sum(), argnums=wanted))(y, mu, w, ts)
    for k in wanted:
        expected = jnp.stack([gradient[k] for gradient in alone])
        assert relative(total[k], expected if k < 2 else expected.sum(0)) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Continuous", "Interpolated"])  # the way back is too far for Backsolve
def test_gradients_of_lanes_are_the_discrete_ones(name):
    wanted, axes, arguments = (0, 1, 2, 3), (0, 0, None, None), members(20)

    def each(adjoint):
        gradient = jax.grad(lambda *a: oscillators(*a, adjoint), argnums=wanted)
        return jax.jit(jax.vmap(gradient, axes))(*arguments)

    for a, b in zip(each(ADJOINTS[name]), each(ode.Discrete()), strict=True):
        assert relative(a, b) < 1e-4


def test_the_gradient_has_no_unit():
    """A tolerance that were absolute would lose the gradient of a small loss."""

    def loss(y, scale):
        ts, options = jnp.array([0.0, 2.0]), {"solver": ode.Bosh3(1e-4), "adjoint": ode.Continuous()}
        return scale * jnp.sum(ode.odeint(linear, y, ts, jnp.array(A), **options).ys[-1] ** 2)

    gradient, y0 = jax.jit(jax.grad(loss)), jnp.array(Y0)
    assert relative(1e12 * gradient(y0, 1e-12), gradient(y0, 1.0)) < 1e-6


@pytest.mark.parametrize("name", ["Continuous", pytest.param("Backsolve", marks=slow)])
def test_memory_does_not_depend_on_the_bound_on_steps(name):
    def temporary(max_steps):
        def loss(y0):
            found = ode.odeint(
                lambda t, y, args: jnp.sin(y), y0, jnp.array([0.0, 1.0]), max_steps=max_steps,
                adjoint=ADJOINTS[name], solver=ode.Bosh3(), throw=False,
            )  # fmt: skip
            return jnp.sum(found.ys)

        compiled = jax.jit(jax.grad(loss)).lower(jnp.ones(200)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert abs(temporary(4096) / temporary(64) - 1) < 0.01


@pytest.mark.parametrize("name", ADJOINTS)
def test_what_they_refuse(name):
    adjoint = ADJOINTS[name]

    def loss(y0, **options):
        return ode.odeint(
            lambda t, y, args: -y, y0, jnp.array([0.0, 1.0]), adjoint=adjoint, **options
        ).ys.sum()

    with pytest.raises(ArgumentError, match=rf"{name}\(\) has gradients in reverse mode only.*Unrolled"):
        jax.jvp(loss, (1.0,), (1.0,))
    with pytest.raises(ArgumentError, match=rf"{name}\(\) has gradients in reverse mode only.*Unrolled"):
        jax.jacfwd(loss)(jnp.ones(3))
    with pytest.raises(ArgumentError, match=rf"{name}\(\) has first derivatives only.*Unrolled"):
        jax.hessian(loss)(1.0)
    with pytest.raises(ArgumentError, match=rf"{name}\(\) needs a solver that chooses its steps.*got RK4"):
        loss(1.0, solver=ode.RK4(3))
    with pytest.raises(ArgumentError, match="checkpoints must be at least 2, got 1"):
        ode.odeint(linear, 1.0, jnp.array([0.0, 1.0]), adjoint=ode.Continuous(1))
    with pytest.raises(ArgumentError, match="drift must be finite and greater than zero, got -1"):
        ode.odeint(linear, 1.0, jnp.array([0.0, 1.0]), adjoint=ode.Backsolve(-1))


def test_too_few_steps_for_the_way_back():
    """The forward solve needs hardly a step, its adjoint many."""

    def field(t, y, args):
        return {"x": jnp.zeros(()), "z": y["x"] * jnp.sin(300 * t) * y["z"]}

    options = {"solver": ode.Bosh3(1e-5), "adjoint": ode.Continuous()}

    def loss(x):
        y0 = {"x": x, "z": jnp.zeros(())}
        found = ode.odeint(field, y0, jnp.array([0.0, 20.0]), max_steps=8, **options)
        return found.ys["z"][-1]

    with pytest.raises(Exception, match=r"Continuous\(\) needs more than four times max_steps = 8 steps"):
        jax.jit(jax.grad(loss))(1.0)


@pytest.mark.parametrize(
    "solver", [ode.Bosh3(1e-9, 1e-9), pytest.param(ode.Tsit5(1e-9, 1e-9), marks=slow), ode.RK4(200)]
)
def test_a_time_that_repeats_has_a_gradient_of_its_own(solver):
    """Of exp(-t), by differentiation through the steps, with second derivatives."""
    ts, weights = jnp.array([0.0, 0.5, 0.5, 1.0, 1.0]), jnp.array([0.0, 1.0, 2.0, 3.0, 4.0])

    def loss(ts):
        options = {"solver": solver, "adjoint": ode.Unrolled(), "max_steps": 1024}
        return weights @ ode.odeint(lambda t, y, args: -y, 1.0, ts, **options).ys

    @jax.jit
    def look(ts):
        def one_more(ts, tangent):
            return jax.jvp(jax.value_and_grad(loss), (ts,), (tangent,))

        axes = (None, 0), ((None, None), (0, 0))
        (value, gradient), (_, hessian) = jax.vmap(one_more, *axes)(ts, jnp.eye(len(ts)))
        return value, gradient, hessian

    exact = weights * jnp.exp(-ts)
    value, gradient, hessian = look(ts)
    np.testing.assert_allclose(value, exact.sum(), rtol=1e-7)
    np.testing.assert_allclose(gradient[1:], -exact[1:], rtol=1e-6)
    np.testing.assert_allclose(jnp.diag(hessian)[1:], exact[1:], rtol=1e-3)
