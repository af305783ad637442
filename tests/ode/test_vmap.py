import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from ode.problems import double, relative, van_der_pol

N = 40
TS = {"two times": (0.0, 3.0), "many times": (0.0, 0.7, 1.1, 2.9, 3.0)}


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def solve(y, mu, w, ts):
    return ode.odeint(van_der_pol, y, ts, (mu, w), solver=ode.Dopri5(1e-6, 1e-6)).ys


def loss(y, mu, w, ts):
    return jnp.sum(solve(y, mu, w, ts) * jnp.arange(1.0, len(ts) + 1)[:, None])


def members():
    """From mild to slow, so that lanes finish at very different times."""
    mu = jnp.exp(jnp.linspace(-1.0, 3.0, N))
    return jnp.tile(jnp.array([2.0, 0.0]), (N, 1)) + jnp.linspace(0, 1, N)[:, None], mu


@pytest.fixture(scope="module", params=["many times", pytest.param("two times", marks=pytest.mark.slow)])
def alone(request):
    """Solutions and gradients, one member after another."""
    with double():
        ts, w = jnp.array(TS[request.param]), jnp.array(1.0)
        y, mu = members()
        one = jax.jit(lambda *a: (solve(*a), jax.grad(loss, argnums=(0, 1, 2, 3))(*a)))
        results = [one(y[i], mu[i], w, ts) for i in range(N)]
        return ts, w, jax.tree_util.tree_map(lambda *x: jnp.stack(x), *results)


def test_lanes_are_the_members_alone(alone):
    ts, w, (ys, _) = alone
    y, mu = members()
    together = jax.jit(jax.vmap(solve, (0, 0, None, None)))
    np.testing.assert_allclose(together(y, mu, w, ts), ys, rtol=1e-12, atol=1e-12)
    order = jax.random.permutation(jax.random.key(0), N)
    np.testing.assert_array_equal(together(y[order], mu[order], w, ts), together(y, mu, w, ts)[order])


def test_gradient_of_vmap_sums_what_is_shared(alone):
    ts, w, (_, expected) = alone
    y, mu = members()
    total = jax.jit(jax.grad(lambda *a: jax.vmap(loss, (0, 0, None, None))(*a).sum(), argnums=(0, 1, 2, 3)))
    ours = total(y, mu, w, ts)
    assert relative(ours[0], expected[0]) < 1e-10
    assert relative(ours[1], expected[1]) < 1e-10
    assert relative(ours[2], expected[2].sum(0)) < 1e-10
    assert relative(ours[3], expected[3].sum(0)) < 1e-10


def test_vmap_of_gradient_keeps_lanes_apart(alone):
    ts, w, (_, expected) = alone
    y, mu = members()
    each = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1, 2, 3)), (0, 0, None, None)))
    for ours, theirs in zip(each(y, mu, w, ts), expected, strict=True):
        assert relative(ours, theirs) < 1e-10


@pytest.mark.slow
def test_nested_vmap_in_both_orders(alone):
    ts, w, (_, expected) = alone
    y, mu = members()
    y, mu = y.reshape(4, 10, 2), mu.reshape(4, 10)

    def rows(y, mu, w):
        return jax.vmap(loss, (0, 0, None, None))(y, mu, w, ts).sum()

    outside = jax.jit(jax.grad(lambda *a: jax.vmap(rows, (0, 0, None))(*a).sum(), argnums=(0, 2)))(y, mu, w)
    inside = jax.jit(jax.vmap(jax.grad(rows, argnums=(0, 2)), (0, 0, None)))(y, mu, w)
    assert relative(outside[0].reshape(N, 2), expected[0]) < 1e-10
    assert relative(outside[1], expected[2].sum()) < 1e-10
    assert relative(inside[0].reshape(N, 2), expected[0]) < 1e-10
    assert relative(inside[1], expected[2].reshape(4, 10).sum(1)) < 1e-10


@pytest.mark.slow
def test_jacobian_rows_are_vmapped_backward_passes(alone):
    ts, w, _ = alone
    y, mu = members()
    jacobian = jax.jit(jax.jacrev(solve))(y[5], mu[5], w, ts)
    unrolled = jax.jit(
        jax.jacfwd(
            lambda y: ode.odeint(
                van_der_pol, y, ts, (mu[5], w), solver=ode.Dopri5(1e-6, 1e-6), adjoint=ode.Unrolled(),
                max_steps=128,
            ).ys
        )
    )(y[5])  # fmt: skip
    assert relative(jacobian, unrolled) < 1e-10
    every = jax.jit(jax.vmap(jax.jacrev(solve), (0, 0, None, None)))(y, mu, w, ts)
    assert relative(every[5], unrolled) < 1e-10


def test_each_example_has_its_own_times_and_tolerance():
    y, mu = members()
    ends = jnp.linspace(0.5, 3.0, N)
    tolerances = jnp.where(jnp.arange(N) % 2, 1e-4, 1e-7)

    def one(y, mu, end, rtol):
        solution = ode.odeint(
            van_der_pol, y, jnp.stack([0.0 * end, end]), (mu, 1.0), solver=ode.Dopri5(rtol, 1e-6)
        )
        return solution.ys[-1], solution.stats.accepted

    ys, steps = jax.jit(jax.vmap(one))(y, mu, ends, tolerances)
    expected, alone = jax.jit(one)(y[7], mu[7], ends[7], tolerances[7])
    np.testing.assert_allclose(ys[7], expected, rtol=1e-12)
    assert steps[7] == alone
    assert steps[1] < steps[0]


@pytest.mark.slow
def test_shared_parameters_of_a_big_field_under_vmap():
    """The product over lanes and stages against differentiation through the steps."""
    weights = jax.random.normal(jax.random.key(0), (20, 20)) / 3
    y = jax.random.normal(jax.random.key(1), (32, 20))
    ts = jnp.array([0.0, 1.0, 2.0])

    def total(weights, adjoint, solver):
        def one(y):
            solution = ode.odeint(
                lambda t, y, args: jnp.tanh(weights @ y), y, ts, solver=solver, adjoint=adjoint
            )
            return jnp.sum(solution.ys**2)

        return jax.vmap(one)(y).sum()

    gradient = jax.jit(jax.grad(total), static_argnums=1)
    assert relative(gradient(weights, ode.Discrete(), ode.RK4(8)),
                    gradient(weights, ode.Unrolled(), ode.RK4(8))) < 1e-12  # fmt: skip
    adaptive = ode.Dopri5(1e-9, 1e-9)
    exact = gradient(weights, ode.Discrete(), ode.RK4(100))
    assert relative(gradient(weights, ode.Discrete(), adaptive), exact) < 1e-6
    assert relative(gradient(weights, ode.Discrete(1.2e6), adaptive), exact) < 1e-6


def test_the_gradient_of_a_solve_in_a_batched_cond_is_right_or_refused():
    """The predicate leaves out the first member, and with it its share of what the forward pass kept."""

    def one(y, mu):
        field = lambda t, y, mu: jnp.tanh(y[::-1] * mu) - 0.1 * y  # noqa: E731
        ts = jnp.array([0.0, 2.0])
        return ode.odeint(field, y, ts, mu, solver=ode.Dopri5(1e-5, 1e-5), max_steps=64).ys[-1].sum()

    def either(chosen, y, mu):
        return jax.lax.cond(chosen, lambda: one(y, mu), lambda: jnp.sum(y) * mu)

    def gradients(n):
        y, mu = jax.random.normal(jax.random.key(0), (n, 2)), jnp.linspace(0.1, 9, n)
        chosen = jnp.arange(n) % 3 > 0
        return jax.jit(jax.vmap(jax.grad(either, argnums=(1, 2))))(chosen, y, mu), y, mu, chosen

    (by_y, by_mu), y, mu, chosen = gradients(4)
    for i in range(4):
        expected = jax.grad(one, argnums=(0, 1))(y[i], mu[i]) if chosen[i] else (mu[i], y[i].sum())
        np.testing.assert_allclose(by_y[i], expected[0], rtol=1e-10)
        np.testing.assert_allclose(by_mu[i], expected[1], rtol=1e-10)
    with pytest.raises(TypeError, match="select cases must have the same shapes"):
        gradients(32)


@pytest.mark.slow
def test_second_derivatives_of_a_batch():
    def one(y, mu):
        found = ode.odeint(
            van_der_pol, y, jnp.array([0.0, 0.4, 1.0]), (mu, 1.0), adjoint=ode.Unrolled(), max_steps=32,
            solver=ode.Dopri5(1e-6, 1e-6),
        )  # fmt: skip
        return jnp.sum(found.ys[1:] ** 2)

    y, mu = jnp.array([[2.0, 0.0], [1.0, 0.5]]), jnp.array([1.0, 2.0])
    every = jax.jit(jax.vmap(jax.hessian(one)))(y, mu)
    alone = jax.jit(jax.hessian(one))
    for i in range(2):
        assert relative(every[i], alone(y[i], mu[i])) < 1e-9
