"""Errors of gradients in proportion to the tolerance, where they are easily missed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough import ode
from ode.gradient_family import ADJOINTS, TOLERANCES, exact_gradient, family, gradient_of, network, worst
from ode.gradient_family import network_parameters as parameters
from ode.problems import double, relative

CONTINUOUS = [name for name in ADJOINTS if name != "Discrete"]
QUICK = {("cancelling", "Interpolated"), ("early", "Backsolve")}
slow = pytest.mark.slow
with double():
    PAIRS = [(name, adjoint) for name, case in family().items() for adjoint in case.adjoints()]


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


@pytest.fixture(scope="module")
def exact():
    """The gradient of a problem, found once."""
    known = {}

    def find(name):
        if name not in known:
            known[name] = exact_gradient(family()[name])
        return known[name]

    return find


@pytest.mark.parametrize(
    ("name", "adjoint"), [pytest.param(*pair, marks=[] if pair in QUICK else slow) for pair in PAIRS]
)
def test_the_error_is_in_proportion_to_the_tolerance(name, adjoint, exact):
    case = family()[name]
    find = gradient_of(case, ADJOINTS[adjoint])
    for tolerance in TOLERANCES:
        assert worst(find(tolerance), exact(name)) <= 100 * tolerance


FREQUENCIES = (2.0, 20.0, 60.0)


def forced(adjoint, tolerance):
    """(frequency, p) -> y(10), where dy/dt = p (1 + sin(frequency t))."""

    def end(frequency, p):
        return ode.odeint(
            lambda t, y, args: args[1] * (1 + jnp.sin(args[0] * t)), 0.0, jnp.array([0.0, 10.0]),
            (frequency, p), solver=ode.Dopri5(tolerance, tolerance), adjoint=adjoint,
        ).ys[-1]  # fmt: skip

    return end


def forced_exactly(frequencies):
    return 10 + (1 - np.cos(10 * np.asarray(frequencies))) / frequencies


@pytest.mark.parametrize(
    "name", ["Continuous", pytest.param("Interpolated", marks=slow), pytest.param("Backsolve", marks=slow)]
)
def test_lanes_have_errors_of_their_own(name):
    """Each gradient is right, whether lanes share the parameter or not, and whoever the neighbours are."""
    frequencies = jnp.array(FREQUENCIES)
    end = forced(ADJOINTS[name], 1e-6)

    @jax.jit
    def each(frequencies):
        return jax.vmap(jax.grad(end, argnums=1), (0, None))(frequencies, 1.0)

    found, exactly = each(frequencies), forced_exactly(frequencies)
    np.testing.assert_allclose(found, exactly, rtol=1e-4)
    np.testing.assert_allclose(each(jnp.array([60.0, 20.0, 0.1]))[1], found[1], rtol=1e-11)
    shared = jax.jit(jax.grad(lambda p: jax.vmap(end, (0, None))(frequencies, p).sum()))(1.0)
    # another program rounds otherwise, and so may make other steps: within the tolerance
    np.testing.assert_allclose(shared, found.sum(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_lanes_of_a_network_do_not_depend_on_their_neighbours(name):
    """More parameters than are carried in full, and more steps than one stretch has."""
    y0 = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)

    def end(scale, y, layers):
        field = lambda t, y, args: args[0] * network(args[0] * t, y, args[1])  # noqa: E731
        options = {"solver": ode.Dopri5(1e-7, 1e-7), "adjoint": ADJOINTS[name]}
        return ode.odeint(field, y, jnp.array([0.0, 3.0]), (scale, layers), **options).ys[-1].sum()

    one = jax.jit(jax.grad(end, argnums=2))
    many = jax.jit(jax.vmap(jax.grad(end, argnums=2), (0, 0, None)))
    scales = jnp.array([0.3, 1.0, 2.0])
    found = many(scales, y0, parameters())
    others = many(scales.at[2].set(0.1), y0, parameters())
    alone = one(scales[1], y0[1], parameters())
    for a, b, c in zip(*map(jax.tree_util.tree_leaves, (found, others, alone)), strict=True):
        assert relative(b[1], a[1]) < 1e-9
        assert relative(c, a[1]) < 1e-9


@pytest.mark.parametrize("max_steps", [110, 128])
def test_interpolated_whatever_the_bound_on_steps(max_steps):
    """The second stretch of steps began at the wrong one unless the bound was a multiple of 64."""

    def end(y, max_steps):
        return ode.odeint(
            lambda t, y, rate: jnp.stack([y[1], -rate * y[0]]), y, jnp.array([0.0, 10.0]), 9.0,
            solver=ode.Bosh3(1e-3, 1e-3), adjoint=ode.Interpolated(), max_steps=max_steps,
        ).ys[-1, 0]  # fmt: skip

    y = jnp.array([1.0, 0.0])
    gradient = jax.jit(jax.grad(end), static_argnums=1)(y, max_steps)
    assert relative(gradient, jnp.array([jnp.cos(30.0), jnp.sin(30.0) / 3])) < 0.1


@pytest.mark.slow
def test_a_large_parameter_behind_a_custom_vjp():
    """What has no forward mode is seen by its reverse mode."""

    @jax.custom_vjp
    def product(w, y):
        return w @ y

    product.defvjp(lambda w, y: (w @ y, (w, y)), lambda kept, ct: (jnp.outer(ct, kept[1]), kept[0].T @ ct))
    w = 0.3 * jax.random.normal(jax.random.key(0), (9, 9))

    def end(w, multiply, adjoint):
        field = lambda t, y, w: multiply(w, y) * (1 + jnp.sin(20 * t)) - y  # noqa: E731
        options = {"solver": ode.Dopri5(1e-6, 1e-6), "adjoint": adjoint}
        return ode.odeint(field, jnp.ones(9), jnp.array([0.0, 3.0]), w, **options).ys[-1].sum()

    one = jax.jit(jax.grad(end), static_argnums=(1, 2))
    exact = one(w, jnp.matmul, ode.Discrete())
    for multiply in (product, jnp.matmul):
        assert relative(one(w, multiply, ode.Continuous()), exact) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_far_tail_and_what_is_only_rounding_cost_nothing(name):
    """A pulse that is next to nothing for most of the time, and a parameter whose effects cancel."""
    told = []
    adjoint = type(ADJOINTS[name])(counter=told.append)

    def field(t, y, args):
        strength, other = args
        return -y + strength * jnp.exp(-jnp.square((t - 3) / 0.2)) + (other - other * 1.0) * y[::-1] + 1

    def end(args):
        options = {"solver": ode.Dopri5(1e-8, 1e-8), "adjoint": adjoint}
        return ode.odeint(field, jnp.ones(2), jnp.array([0.0, 10.0]), args, **options).ys[-1].sum()

    found = jax.jit(jax.grad(end))((1.0, 1e3))
    jax.effects_barrier()
    assert told[0] < 6000
    assert abs(found[1]) < 1e-9
