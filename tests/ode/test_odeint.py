import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from backthrough import ode
from ode.problems import Y0, A, double, linear, linear_solution, relative, van_der_pol


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def weighted(ys):
    return jnp.sum(jnp.sin(ys) * jnp.arange(1.0, ys.shape[0] + 1)[:, None])


SOLVERS = {
    "Dopri5": (ode.Dopri5(1e-9, 1e-10), 1e-8),
    "Tsit5": (ode.Tsit5(1e-9, 1e-10), 1e-8),
    "Bosh3": (ode.Bosh3(1e-8, 1e-9), 1e-6),
    "Dopri8": (ode.Dopri8(1e-10, 1e-11), 1e-8),
    "RK4": (ode.RK4(100), 1e-6),
}
GRIDS = {"two times": (0.2, 2.0), "many times": (0.2, 0.5, 0.9, 2.0), "backwards": (2.0, 1.0, -0.5)}


@pytest.mark.parametrize(
    ("name", "grid"),
    [("Dopri5", "two times"), ("Tsit5", "backwards")] + [(name, "many times") for name in SOLVERS],
)
def test_solution_and_gradients_of_a_linear_system_are_those_of_expm(name, grid):
    solver, tolerance = SOLVERS[name]

    def loss(y0, matrix, ts):
        return weighted(ode.odeint(linear, y0, ts, matrix, solver=solver).ys)

    arguments = (jnp.array(Y0), jnp.array(A), jnp.array(GRIDS[grid]))
    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*arguments)
    exact, expected = jax.value_and_grad(lambda *a: weighted(linear_solution(*a)), argnums=(0, 1, 2))(
        *arguments
    )
    assert abs(value - exact) <= tolerance * abs(exact)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert relative(ours, theirs) <= tolerance


@pytest.mark.parametrize("make", [ode.Euler, ode.Midpoint, ode.Heun, ode.RK4])
def test_order_of_the_fixed_step_methods(make):
    """Halving the step divides the error by 2^order, within 15 %."""
    ts, y0, matrix = jnp.array([0.0, 1.0]), jnp.array(Y0), jnp.array(A)
    exact = linear_solution(y0, matrix, ts)[-1]
    errors = [
        jnp.linalg.norm(ode.odeint(linear, y0, ts, matrix, solver=make(n)).ys[-1] - exact) for n in (16, 32)
    ]
    order = make(1).tableau.order
    assert abs(errors[0] / errors[1] / 2**order - 1) < 0.15


@pytest.mark.parametrize("make", [ode.Dopri5, ode.Tsit5, ode.Bosh3, ode.Dopri8])
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


@pytest.mark.parametrize("n_points", [2, 5])
def test_the_discrete_adjoint_differentiates_the_numerical_solution(n_points):
    ts = jnp.linspace(0.0, 2.0, n_points)

    def loss(y0, args, adjoint):
        solution = ode.odeint(van_der_pol, y0, ts, args, solver=ode.RK4(20), adjoint=adjoint)
        return weighted(solution.ys)

    arguments = jnp.array([2.0, 0.1]), (jnp.array(1.5), jnp.array(1.0))
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    ours = gradient(*arguments, ode.Discrete())
    unrolled = gradient(*arguments, ode.Unrolled())
    for a, b in zip(jax.tree_util.tree_leaves(ours), jax.tree_util.tree_leaves(unrolled), strict=True):
        assert relative(a, b) < 1e-12


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
    assert relative(jax.grad(ours)(y0), jax.grad(theirs)(y0)) < 1e-12


def big_field(t, y, weights):
    return jnp.tanh(weights @ y) - y


def test_wide_states_and_segments_change_nothing():
    """Every way of forming parameter gradients, and any memory, gives the gradient of the same solution."""
    weights = jax.random.normal(jax.random.key(0), (20, 20)) / 3
    y0 = jax.random.normal(jax.random.key(1), (20,))
    ts = jnp.array([0.0, 1.0, 2.5, 4.0])

    def gradient(memory, adjoint=ode.Discrete):
        def loss(y0, weights):
            solution = ode.odeint(
                big_field, y0, ts, weights, solver=ode.Dopri5(1e-8, 1e-8), max_steps=128,
                adjoint=adjoint(memory) if adjoint is ode.Discrete else adjoint(),
            )  # fmt: skip
            return weighted(solution.ys)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(y0, weights)

    plain, segmented, unrolled = gradient(None), gradient(8_000), gradient(None, ode.Unrolled)
    for a, b, c in zip(plain, segmented, unrolled, strict=True):
        assert relative(a, c) < 1e-6  # step sizes are constants in one and not in the other
        assert relative(b, a) < 1e-12


def test_memory_is_kept_to():
    """XLA's own count of temporary memory stays within the budget and what the field itself takes."""
    weights = jnp.eye(200)

    def temporary(max_steps, memory):
        def loss(y0):
            solution = ode.odeint(
                big_field, y0, jnp.array([0.0, 1.0]), weights, max_steps=max_steps,
                adjoint=ode.Discrete(memory), throw=False,
            )  # fmt: skip
            return jnp.sum(solution.ys)

        compiled = jax.jit(jax.grad(loss)).lower(jnp.ones(200)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(4096, 5e5) < 5e5 + 1e5
    assert temporary(4096, 5e5) < temporary(4096, 8e6) / 5


def test_second_derivatives_and_forward_mode_through_unrolled():
    def loss(y0):
        solution = ode.odeint(
            van_der_pol, y0, jnp.array([0.0, 1.0, 2.0]), (1.0, 1.0), adjoint=ode.Unrolled(), max_steps=64,
            solver=ode.Dopri5(1e-7, 1e-7),
        )  # fmt: skip
        return jnp.sum(solution.ys**2)

    y0 = jnp.array([1.0, 0.3])

    @jax.jit
    def look(y):
        rows, tangents = jax.vmap(lambda e: jax.jvp(jax.grad(loss), (y,), (e,)))(jnp.eye(2))
        return rows[0], tangents, jax.jvp(loss, (y,), (jnp.ones(2),))[1]

    gradient, hessian, tangent = look(y0)
    step = 1e-5
    for i in range(2):
        e = jnp.zeros(2).at[i].set(step)
        assert relative((look(y0 + e)[0] - look(y0 - e)[0]) / (2 * step), hessian[i]) < 1e-3
    np.testing.assert_allclose(tangent, gradient.sum(), rtol=1e-9)


def test_pytrees_closures_complex_numbers_and_whole_numbers():
    """z' = i w z turns; the gradient goes to what the field closes over."""
    ts = jnp.array([0.0, 1.0])

    def angle(w):
        def field(t, y, args):
            return {"z": 1j * w * y["z"], "x": (args["n"] * y["x"][0],)}

        args = {"n": jnp.array(2), "none": None}
        y0 = {"z": jnp.array(1.0 + 0.0j), "x": (jnp.ones((2, 2)),)}
        ys = ode.odeint(field, y0, ts, args, solver=ode.Dopri5(1e-10, 1e-10)).ys
        np.testing.assert_allclose(jax.lax.stop_gradient(ys["x"][0])[-1], np.exp(2) * np.ones((2, 2)), 1e-8)
        return jnp.angle(ys["z"][-1])

    value, gradient = jax.value_and_grad(angle)(0.7)
    np.testing.assert_allclose([value, gradient], [0.7, 1.0], rtol=1e-8)


def test_modules_are_fields():
    network = eqx.nn.MLP(2, 2, 8, 1, key=jax.random.key(0))

    def loss(network, adjoint):
        solution = ode.odeint(
            lambda t, y, args: network(y), jnp.ones(2), jnp.array([0.0, 1.0]), solver=ode.RK4(10),
            adjoint=adjoint,
        )  # fmt: skip
        return jnp.sum(solution.ys[-1])

    ours = eqx.filter_grad(loss)(network, ode.Discrete())
    unrolled = eqx.filter_grad(loss)(network, ode.Unrolled())
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
