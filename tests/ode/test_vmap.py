from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from ode.problems import double, relative, van_der_pol

TS = (0.0, 0.7, 1.1, 2.9, 3.0)
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def solve(y, mu, w, ts, solver):
    return ode.odeint(van_der_pol, y, ts, (mu, w), solver=solver).ys


def loss(y, mu, w, ts, weights, solver):
    ys = solve(y, mu, w, ts, solver)
    return jnp.sum(ys * weights[:, None]), ys


def members(n):
    """From mild to slow, so that lanes finish at very different times.

    A change of 1e-16 in a start changes these solutions by 1e-13 at most. With 3.0 for 3.2 it does by 1e-8:
    then a lane (mu = 5.3) steps along the edge of Bosh3's stability and rejects ten times, and which of the
    solutions within the tolerance comes out depends on how the compiler rounds.
    """
    mu = jnp.exp(jnp.linspace(-1.0, 3.2, n))
    return jnp.tile(jnp.array([2.0, 0.0]), (n, 1)) + jnp.linspace(0, 1, n)[:, None], mu


class Alone(NamedTuple):
    """Solutions and gradients, one member after another: of all times, and of the last one."""

    solver: ode.Adaptive
    data: tuple
    ts: jax.Array
    weights: jax.Array
    ys: jax.Array
    gradients: tuple
    of_last: tuple


@pytest.fixture(
    scope="module",
    params=[  # 16 lanes are the fewest that are compacted
        (ode.Bosh3, 16),
        pytest.param((ode.Dopri5, 40), marks=slow),
    ],
    ids=["Bosh3", "Dopri5"],
)
def alone(request):
    make, n = request.param
    with double():
        solver, ts, w = make(1e-6, 1e-6), jnp.array(TS), jnp.array(1.0)
        weights = jnp.arange(1.0, len(TS) + 1)
        y, mu = members(n)
        one = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True), static_argnums=5)

        def every(weights):
            results = [one(y[i], mu[i], w, ts, weights, solver) for i in range(n)]
            return jax.tree_util.tree_map(lambda *x: jnp.stack(x), *results)

        gradients, ys = every(weights)
        return Alone(solver, (y, mu, w), ts, weights, ys, gradients, every(weights.at[:-1].set(0))[0])


def test_lanes_are_the_members_alone(alone):
    y, mu, w = alone.data
    together = jax.jit(jax.vmap(lambda *a: solve(*a, alone.solver), (0, 0, None, None)))
    found = together(y, mu, w, alone.ts)
    np.testing.assert_allclose(found, alone.ys, rtol=1e-12, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(mu))
    np.testing.assert_array_equal(together(y[order], mu[order], w, alone.ts), found[order])


def test_gradient_of_vmap_sums_what_is_shared(alone):
    every = jax.vmap(lambda *a: loss(*a, alone.weights, alone.solver)[0], (0, 0, None, None))
    total = jax.jit(jax.grad(lambda *a: every(*a).sum(), argnums=(0, 1, 2, 3)))
    ours = total(*alone.data, alone.ts)
    expected = alone.gradients
    assert relative(ours[0], expected[0]) < 1e-10
    assert relative(ours[1], expected[1]) < 1e-10
    assert relative(ours[2], expected[2].sum(0)) < 1e-10
    assert relative(ours[3], expected[3].sum(0)) < 1e-10


@pytest.mark.parametrize("name", ["two times", pytest.param("many times", marks=slow)])
def test_vmap_of_gradient_keeps_lanes_apart(name, alone):
    """Of two times: the same steps, and the same gradients of the state at the last time."""
    ts, weights, expected = alone.ts, alone.weights, alone.gradients
    if name == "two times":
        *others, of_ts = alone.of_last
        ts, weights, expected = (
            ts[jnp.array([0, -1])],
            weights[-2:].at[0].set(0),
            (*others, of_ts[:, [0, -1]]),
        )
    each = jax.vmap(jax.grad(lambda *a: loss(*a, weights, alone.solver)[0], (0, 1, 2, 3)), (0, 0, None, None))
    for ours, theirs in zip(jax.jit(each)(*alone.data, ts), expected, strict=True):
        assert relative(ours, theirs) < 1e-10


@pytest.mark.slow
def test_nested_vmap_in_both_orders(alone):
    y, mu, w = alone.data
    y, mu, expected = y.reshape(4, -1, 2), mu.reshape(4, -1), alone.gradients

    def rows(y, mu, w):
        one = lambda y, mu, w: loss(y, mu, w, alone.ts, alone.weights, alone.solver)[0]  # noqa: E731
        return jax.vmap(one, (0, 0, None))(y, mu, w).sum()

    outside = jax.jit(jax.grad(lambda *a: jax.vmap(rows, (0, 0, None))(*a).sum(), argnums=(0, 2)))(y, mu, w)
    inside = jax.jit(jax.vmap(jax.grad(rows, argnums=(0, 2)), (0, 0, None)))(y, mu, w)
    assert relative(outside[0].reshape(-1, 2), expected[0]) < 1e-10
    assert relative(outside[1], expected[2].sum()) < 1e-10
    assert relative(inside[0].reshape(-1, 2), expected[0]) < 1e-10
    assert relative(inside[1], expected[2].reshape(4, -1).sum(1)) < 1e-10


@pytest.mark.slow
def test_jacobian_rows_are_vmapped_backward_passes(alone):
    (y, mu, w), ts, solver = alone.data, alone.ts, alone.solver
    jacobian = jax.jit(jax.jacrev(lambda y: solve(y, mu[5], w, ts, solver)))(y[5])
    unrolled = jax.jit(
        jax.jacfwd(
            lambda y: (
                ode.odeint(
                    van_der_pol, y, ts, (mu[5], w), solver=solver, adjoint=ode.Unrolled(), max_steps=512
                ).ys
            )
        )
    )(y[5])
    assert relative(jacobian, unrolled) < 1e-10
    every = jax.jit(jax.vmap(jax.jacrev(lambda y, mu: solve(y, mu, w, ts, solver))))(y, mu)
    assert relative(every[5], unrolled) < 1e-10


def test_each_example_has_its_own_times_and_tolerance():
    n = 16
    y, mu = members(n)
    ends = jnp.linspace(0.5, 3.0, n)
    tolerances = jnp.where(jnp.arange(n) % 2, 1e-4, 1e-7)

    def one(y, mu, end, rtol):
        solution = ode.odeint(
            van_der_pol, y, jnp.stack([0.0 * end, end]), (mu, 1.0), solver=ode.Bosh3(rtol, 1e-6)
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
        return ode.odeint(field, y, ts, mu, solver=ode.Bosh3(1e-5, 1e-5), max_steps=256).ys[-1].sum()

    def either(chosen, y, mu):
        return jax.lax.cond(chosen, lambda: one(y, mu), lambda: jnp.sum(y) * mu)

    def gradients(n):
        y, mu = jnp.array(np.random.default_rng(0).normal(size=(n, 2))), jnp.linspace(0.1, 9, n)
        chosen = jnp.arange(n) % 3 > 0
        return jax.jit(jax.vmap(jax.grad(either, argnums=(1, 2))))(chosen, y, mu), y, mu, chosen

    (by_y, by_mu), y, mu, chosen = gradients(4)
    alone = jax.jit(jax.grad(one, argnums=(0, 1)))
    for i in range(4):
        expected = alone(y[i], mu[i]) if chosen[i] else (mu[i], y[i].sum())
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


def test_a_batch_of_a_compiled_gradient_of_a_batch():
    """A few lanes keep their steps otherwise than many do, and the outer vmap comes after the inner trace.

    The same in a loop's body, which is traced before it is batched.
    """

    def inner(y):
        def one(y):
            return ode.odeint(lambda t, y, rate: -rate * y, y, jnp.array([0.0, 1.0]), jnp.ones(5)).ys[-1]

        return jnp.sum(jax.vmap(one)(y) ** 2)

    def descend(y):
        return jax.lax.scan(lambda y, _: (y - 0.1 * jax.grad(inner)(y), None), y, length=2)[0]

    y = jnp.ones((2, 2, 5)) * jnp.arange(1.0, 3.0)[:, None, None]
    slope = 2 * np.exp(-2.0)
    np.testing.assert_allclose(jax.vmap(jax.jit(jax.grad(inner)))(y), slope * y, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(descend))(y), (1 - 0.1 * slope) ** 2 * y, rtol=1e-5)
