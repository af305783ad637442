from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from backthrough import ode
from backthrough.ode.rungekutta import STARTING, next_step
from ode.problems import Y0, A, double, linear, relative, van_der_pol, weighted, weighted_exactly


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


slow = pytest.mark.slow
SOLVERS = {
    "Dopri5": (ode.Dopri5(1e-9, 1e-10), 1e-8),
    "Tsit5": (ode.Tsit5(1e-9, 1e-10), 1e-8),
    "Bosh3": (ode.Bosh3(1e-8, 1e-9), 1e-6),
    "Dopri8": (ode.Dopri8(1e-10, 1e-11), 1e-8),
    "RK4": (ode.RK4(100), 1e-6),
}
GRIDS = {"two times": [(0.2, 2.0)], "many times": [(0.2, 0.5, 0.9, 2.0), (2.0, 1.5, 1.0, -0.5)]}


@pytest.mark.parametrize(
    ("name", "grids"),
    [("Bosh3", "two times"), ("RK4", "many times"), ("Dopri5", "many times")]
    + [pytest.param("Dopri5", "two times", marks=slow)]
    + [pytest.param(name, "many times", marks=slow) for name in ("Tsit5", "Bosh3", "Dopri8")],
)
def test_solution_and_gradients_of_a_linear_system_are_those_of_expm(name, grids):
    """There and backwards, by one program."""
    solver, tolerance = SOLVERS[name]

    @jax.jit
    def look(*arguments):
        def loss(y0, matrix, ts):
            return weighted(ode.odeint(linear, y0, ts, matrix, solver=solver).ys)

        return jax.value_and_grad(loss, argnums=(0, 1, 2))(*arguments)

    for grid in GRIDS[grids]:
        arguments = (jnp.array(Y0), jnp.array(A), jnp.array(grid))
        value, gradients = look(*arguments)
        exact, expected = weighted_exactly(*arguments)
        assert abs(value - exact) <= tolerance * abs(exact)
        for ours, theirs in zip(gradients, expected, strict=True):
            assert relative(ours, theirs) <= tolerance


@pytest.mark.parametrize("make", [ode.Euler, ode.Midpoint, ode.Heun, ode.RK4])
def test_order_of_the_fixed_step_methods(make):
    """Halving the step divides the error by 2^order, within 15 %."""
    ts, y0, matrix = jnp.array([0.0, 1.0]), jnp.array(Y0), jnp.array(A)
    exact = scipy.linalg.expm(np.array(A)) @ np.array(Y0)
    ends = [ode.odeint(linear, y0, ts, matrix, solver=make(n)).ys[-1] for n in (16, 32)]
    errors = [np.linalg.norm(np.asarray(end) - exact) for end in ends]
    order = make(1).tableau.order
    assert abs(errors[0] / errors[1] / 2**order - 1) < 0.15


@pytest.mark.parametrize(  # Tsit5 and Dopri8 between steps: test_oracles
    "make", [ode.Dopri5, ode.Bosh3, *(pytest.param(make, marks=slow) for make in (ode.Tsit5, ode.Dopri8))]
)
def test_van_der_pol_between_steps_is_scipys(make):
    ts = jnp.linspace(0.0, 3.0, 41)
    ours = ode.odeint(van_der_pol, jnp.array([2.0, 0.0]), ts, (3.0, 1.0), solver=make(1e-8, 1e-8)).ys
    theirs = solve_ivp(
        lambda t, y: [y[1], 3 * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, 3),
        [2.0, 0.0],
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        t_eval=np.asarray(ts),
    ).y.T
    assert np.abs(np.asarray(ours) - theirs).max() < 2e-6


def test_there_and_back():
    there = ode.odeint(linear, jnp.array(Y0), jnp.array([0.0, 3.0]), jnp.array(A)).ys[-1]
    back = ode.odeint(linear, there, jnp.array([3.0, 0.0]), jnp.array(A)).ys[-1]
    assert jnp.abs(back - jnp.array(Y0)).max() < 1e-3


@pytest.mark.parametrize("n_points", [pytest.param(2, marks=slow), 5])
def test_the_discrete_adjoint_differentiates_the_numerical_solution(n_points):
    ts = jnp.linspace(0.0, 2.0, n_points)

    def loss(y0, args, adjoint):
        solution = ode.odeint(van_der_pol, y0, ts, args, solver=ode.RK4(20), adjoint=adjoint)
        return weighted(solution.ys)

    arguments = jnp.array([2.0, 0.1]), (jnp.array(1.5), jnp.array(1.0))
    gradient = jax.grad(loss, argnums=(0, 1))
    both = jax.jit(lambda *a: (gradient(*a, ode.Discrete()), gradient(*a, ode.Unrolled())))
    ours, unrolled = both(*arguments)
    for a, b in zip(jax.tree_util.tree_leaves(ours), jax.tree_util.tree_leaves(unrolled), strict=True):
        assert relative(a, b) < 1e-12


@slow
def test_the_discrete_adjoint_on_a_grid_is_diffraxs():
    def ours(y0):
        solution = ode.odeint(van_der_pol, y0, jnp.array([0.0, 2.0]), (1.5, 1.0), solver=ode.Midpoint(50))
        return jnp.sum(solution.ys[-1] ** 2)

    def theirs(y0):
        controller = diffrax.StepTo(jnp.linspace(0.0, 2.0, 51))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(van_der_pol), diffrax.Midpoint(), 0.0, 2.0, None, y0, (1.5, 1.0),
            stepsize_controller=controller,
        )  # fmt: skip
        return jnp.sum(solution.ys[-1] ** 2)

    y0 = jnp.array([2.0, 0.1])
    found, expected = jax.jit(lambda y: (jax.grad(ours)(y), jax.grad(theirs)(y)))(y0)
    assert relative(found, expected) < 1e-12


def big_field(t, y, weights):
    return jnp.tanh(weights @ y) - y


WIDE_SOLVERS = [ode.Bosh3(1e-5, 1e-5), pytest.param(ode.Dopri5(1e-8, 1e-8), marks=slow)]


@pytest.mark.parametrize("solver", WIDE_SOLVERS, ids=["Bosh3", "Dopri5"])
def test_wide_states_and_segments_change_nothing(solver):
    """Every way of forming parameter gradients, and any memory, gives the gradient of the same solution."""
    rng = np.random.default_rng(0)
    weights, y0 = jnp.array(rng.normal(size=(20, 20)) / 3), jnp.array(rng.normal(size=20))
    ts = jnp.array([0.0, 1.0, 2.5, 4.0])

    def gradient(adjoint):
        def loss(y0, weights):
            found = ode.odeint(big_field, y0, ts, weights, solver=solver, max_steps=128, adjoint=adjoint)
            return weighted(found.ys)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(y0, weights)

    plain, segmented = gradient(ode.Discrete()), gradient(ode.Discrete(8_000))
    for a, b, c in zip(plain, segmented, gradient(ode.Unrolled()), strict=True):
        assert relative(a, c) < 1e-10
        assert relative(b, a) < 1e-12


def test_memory_is_kept_to():
    """XLA's own count of temporary memory stays within the budget and what the field itself takes."""
    weights = jnp.eye(200)

    def temporary(max_steps, memory):
        def loss(y0):
            solution = ode.odeint(
                big_field, y0, jnp.array([0.0, 1.0]), weights, max_steps=max_steps,
                adjoint=ode.Discrete(memory), solver=ode.Bosh3(), throw=False,
            )  # fmt: skip
            return jnp.sum(solution.ys)

        compiled = jax.jit(jax.grad(loss)).lower(jnp.ones(200)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    little = temporary(4096, 5e5)
    assert little < 5e5 + 1e5
    assert little < temporary(4096, 8e6) / 5


def test_second_derivatives_and_forward_mode_through_unrolled():
    def loss(y0):
        solution = ode.odeint(
            van_der_pol, y0, jnp.array([0.0, 1.0, 2.0]), (1.0, 1.0), adjoint=ode.Unrolled(), max_steps=512,
            solver=ode.Bosh3(1e-7, 1e-7),
        )  # fmt: skip
        return jnp.sum(solution.ys**2)

    y0 = jnp.array([1.0, 0.3])

    @jax.jit
    def look(y):
        (_, rows), tangents = jax.vmap(lambda e: jax.jvp(jax.value_and_grad(loss), (y,), (e,)))(jnp.eye(2))
        return rows[0], tangents[1], tangents[0]

    gradient, hessian, tangents = look(y0)
    step = 1e-5
    for i in range(2):
        e = jnp.zeros(2).at[i].set(step)
        assert relative((look(y0 + e)[0] - look(y0 - e)[0]) / (2 * step), hessian[i]) < 1e-3
    np.testing.assert_allclose(tangents, gradient, rtol=1e-9)


def test_pytrees_closures_complex_numbers_and_whole_numbers():
    """z' = i w z turns; the gradient goes to what the field closes over."""
    ts = jnp.array([0.0, 1.0])

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def angle(w):
        def field(t, y, args):
            return {"z": 1j * w * y["z"], "x": (args["n"] * y["x"][0],)}

        args = {"n": jnp.array(2), "none": None}
        y0 = {"z": jnp.array(1.0 + 0.0j), "x": (jnp.ones((2, 2)),)}
        ys = ode.odeint(field, y0, ts, args, solver=ode.Dopri5(1e-10, 1e-10)).ys
        return jnp.angle(ys["z"][-1]), ys["x"][0][-1]

    (value, x), gradient = angle(0.7)
    np.testing.assert_allclose(x, np.exp(2) * np.ones((2, 2)), 1e-8)
    np.testing.assert_allclose([value, gradient], [0.7, 1.0], rtol=1e-8)


def test_modules_are_fields():
    network = eqx.nn.MLP(2, 2, 8, 1, key=jax.random.key(0))

    def loss(network, adjoint):
        solution = ode.odeint(
            lambda t, y, args: network(y), jnp.ones(2), jnp.array([0.0, 1.0]), solver=ode.RK4(10),
            adjoint=adjoint,
        )  # fmt: skip
        return jnp.sum(solution.ys[-1])

    @eqx.filter_jit
    def both(network):
        return eqx.filter_grad(loss)(network, ode.Discrete()), eqx.filter_grad(loss)(network, ode.Unrolled())

    ours, unrolled = both(network)
    for a, b in zip(jax.tree_util.tree_leaves(ours), jax.tree_util.tree_leaves(unrolled), strict=True):
        assert relative(a, b) < 1e-12


def test_statistics():
    solution = ode.odeint(linear, jnp.array(Y0), jnp.array([0.0, 2.0]), jnp.array(A))
    stats = solution.stats
    assert solution.status == ode.Status.DONE
    assert stats.t_reached == 2.0
    assert stats.evaluations == 2 + 6 * (stats.accepted + stats.rejected)
    assert stats.backward_evaluations == 6 * stats.accepted


def test_an_equal_field_is_compiled_once():
    traces = []

    def field(t, y, args):
        traces.append(1)
        return -args * y

    for rate, tolerance in ((0.5, 1e-4), (0.7, 1e-5)):
        ode.odeint(field, 1.0, jnp.array([0.0, rate]), jnp.array(rate), solver=ode.Dopri5(rtol=tolerance))
        first = len(traces) if rate == 0.5 else first
    assert len(traces) == first


def test_first_steps_grow_by_their_own_error_until_one_is_about_right():
    """Hairer et al. 1993, II.4, eq. 4.13; then the PI controller, Hairer and Wanner 1996, IV.2."""
    far, near, starting = 1e-3, 0.5, jnp.asarray(STARTING)

    def grown(error, last):
        h, kept = next_step(5, jnp.asarray(1.0), jnp.asarray(error <= 1), jnp.asarray(error**2), last)
        return float(h), kept

    h, kept = grown(far, starting)
    assert h == pytest.approx(0.9 * far ** (-1 / 5), rel=1e-5)
    assert kept == STARTING
    h, kept = grown(near, kept)
    assert h == pytest.approx(0.9 * near ** (-0.7 / 5), rel=1e-5)
    assert float(kept) == pytest.approx(near**2)
    h, _ = grown(far, kept)
    assert h == pytest.approx(0.9 * far ** (-0.7 / 5) * near ** (0.4 / 5), rel=1e-5)
    assert grown(1e-30, starting)[0] == pytest.approx(10.0)
    h, _ = grown(32.0, starting)  # rejected
    assert h == pytest.approx(0.9 / 2, rel=1e-5)
