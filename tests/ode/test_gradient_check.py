import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

from backthrough import ode
from backthrough.core import ArgumentError
from ode.problems import double, van_der_pol

matplotlib.use("Agg")
TS = jnp.array([0.0, 20.0])


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


@pytest.fixture(scope="module")
def found():
    """Van der Pol, mu = 5: too loose a tolerance, and a state that cannot be integrated backwards."""
    adjoints = {"Backsolve()": ode.Backsolve(), "Discrete()": ode.Discrete()}
    with double():
        return ode.check_gradients(
            van_der_pol, jnp.array([2.0, 0.0]), jnp.array([0.0, 20.0]), (5.0, 1.0), adjoints=adjoints,
            solver=ode.Tsit5(1e-4, 1e-4), loss=lambda ys: ys[-1].sum(),
        )  # fmt: skip


def test_it_says_what_to_use(found):
    assert found.adjoints == ("Backsolve()", "Discrete()") * 3
    np.testing.assert_allclose(found.rtol, np.repeat([1e-4, 1e-5, 1e-6], 2))
    assert np.isinf(found.error[::2]).all()
    assert found.error[1] > 1e-3 > found.error[3] > found.error[5]
    assert "adjoint=Backsolve() with rtol=0.0001, atol=0.0001 has a relative error of inf" in found.advice
    assert "use adjoint=Discrete() with rtol=1e-05" in found.advice


def test_its_table_and_figure(found):
    from matplotlib.figure import Figure

    assert list(found.table()["adjoint"]) == list(found.adjoints)
    axes = found.plot(Figure().subplots())
    assert axes.get_xscale() == "log"


class Decay(eqx.Module):
    rate: jax.Array

    def __call__(self, t, y, args):
        return -self.rate * y


def test_its_errors_are_those_of_the_closed_form():
    """d/d(rate) and d/dy of y exp(-rate): the reference is tight, so errors are errors."""
    field, y0, rtol = Decay(jnp.array(2.0)), jnp.array(3.0), 1e-3
    only = {"Discrete()": ode.Discrete()}
    found = ode.check_gradients(
        field, y0, jnp.array([0.0, 1.0]), solver=ode.Bosh3(rtol, 1e-9), adjoints=only,
        loss=lambda ys: ys[-1],
    )  # fmt: skip

    def solve(field, y0, ts):
        return ode.odeint(field, y0, ts, solver=ode.Bosh3(rtol, 1e-9)).ys[-1]

    gradient = jax.jit(jax.grad(solve, argnums=(0, 1, 2)))(field, y0, jnp.array([0.0, 1.0]))
    leaves = jax.tree_util.tree_leaves(gradient)
    end = 3 * jnp.exp(-2.0)
    exact = [-end, end / 3, jnp.stack([2 * end, -2 * end])]
    off = [float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in zip(leaves, exact, strict=True)]
    np.testing.assert_allclose(found.error[0], max(off), rtol=0.05)
    assert found.worst[0] == ("field.rate", "y0", "ts")[np.argmax(off)]
    assert found.advice.startswith("adjoint=Discrete() with rtol=0.001")


def test_a_small_gradient_beside_a_large_one_must_be_right():
    """The state hardly sees what the small parameter does, nor do the steps that `Discrete` replays."""

    def field(t, y, args):
        large, small = args
        return large - 1e-6 * small * jnp.sin(30 * t)

    only = {"Discrete()": ode.Discrete(), "Continuous()": ode.Continuous()}
    found = ode.check_gradients(
        field, jnp.array(0.0), jnp.array([0.0, 10.0]), (1.0, 1e-3), adjoints=only,
        solver=ode.Dopri5(1e-6, 1e-6),
    )  # fmt: skip
    assert found.error[0] > 0.2
    assert found.worst[0] == "args[1]"
    assert "has a relative error of" in found.advice
    assert "in args[1]; use adjoint=Continuous()" in found.advice
    assert list(found.table()["worst leaf"]) == list(found.worst)


def test_a_gradient_of_zero_needs_no_more_than_rounding():
    """What cancels leaves some of it, of no meaning."""

    def field(t, y, args):
        return -y + args * jnp.sum(y - y[::-1])

    found = ode.check_gradients(
        field, jnp.array([1.0, 0.3]), jnp.array([0.0, 1.0]), 0.7, adjoints={"Discrete()": ode.Discrete()},
        solver=ode.Bosh3(1e-5, 1e-9),
    )  # fmt: skip
    assert found.error[0] < 1e-3


def test_what_it_refuses():
    with pytest.raises(ArgumentError, match="solver must be one that chooses its steps"):
        ode.check_gradients(van_der_pol, jnp.ones(2), TS, (1.0, 1.0), solver=ode.RK4(3))
    with pytest.raises(ArgumentError, match="adjoints must name at least one, got none"):
        ode.check_gradients(van_der_pol, jnp.ones(2), TS, (1.0, 1.0), adjoints={})
    with pytest.raises(ArgumentError, match="y0 must be a floating-point array, got 1"):
        ode.check_gradients(van_der_pol, 1, TS, (1.0, 1.0))
    with pytest.raises(ArgumentError, match=r"loss must return one number, got shape \(2,\)"):
        ode.check_gradients(van_der_pol, jnp.ones(2), TS, (1.0, 1.0), loss=lambda ys: ys[-1])
    with pytest.raises(ArgumentError, match=r"ts\[1\] is 2.0 and ts\[2\] is 1.0"):
        ode.check_gradients(van_der_pol, jnp.ones(2), jnp.array([0.0, 2.0, 1.0]), (1.0, 1.0))
    with pytest.raises(ArgumentError, match="the solve failed; loosen them, raise max_steps"):
        ode.check_gradients(van_der_pol, jnp.ones(2), TS, (5.0, 1.0), max_steps=3)


def test_a_field_that_jumps():
    field = lambda t, y, at: -y + jnp.where(t > at, 1.0, 0.0)  # noqa: E731
    jump = jnp.array(7.0)
    found = ode.check_gradients(
        field, 1.0, jnp.array([0.0, 10.0]), jump, jump_ts=jump[None], adjoints={"Discrete()": ode.Discrete()}
    )
    assert found.error.max() < 1e-3
