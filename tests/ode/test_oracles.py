"""Every solver against closed forms, DETEST, its own order, and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from backthrough import ode
from backthrough.ode import rungekutta, tableaux
from ode.detest import END, PROBLEMS
from ode.problems import double, relative

ADAPTIVE = {
    "Dopri5": ode.Dopri5, "Tsit5": ode.Tsit5, "Bosh3": ode.Bosh3, "Dopri8": ode.Dopri8,
    "Rodas5P": ode.Rodas5P,
}  # fmt: skip
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_double():
    with double():
        yield


def logistic_and_sine(t, y, args):
    """y' = y (1 - y), and torchdiffeq's problem with sines, whose solution begins as below."""
    return jnp.stack([y[0] * (1 - y[0]), 2 * y[1] / t + t**4 * jnp.sin(2 * t) - t**2 + 4 * t**3])


def logistic_and_sine_solution(t):
    sine = (
        -(t**4) / 2 * jnp.cos(2 * t) + t**3 / 2 * jnp.sin(2 * t) + t**2 / 4 * jnp.cos(2 * t)
        - t**3 + 2 * t**4 + (jnp.pi - 1 / 4) * t**2
    )  # fmt: skip
    return jnp.stack([1 / (1 + jnp.exp(-t)), sine], axis=-1)


@pytest.mark.parametrize(
    "name", ["Tsit5", "Dopri8", "Rodas5P", *(pytest.param(name, marks=slow) for name in ("Dopri5", "Bosh3"))]
)
def test_the_logistic_curve_and_sines_there_and_back(name):
    """Closed forms, and back to within 100 tolerances of the beginning, by one program."""
    tolerance = 1e-8
    solver = ADAPTIVE[name](tolerance, tolerance)
    solve = jax.jit(lambda y, ts: ode.odeint(logistic_and_sine, y, ts, solver=solver).ys)
    there = jnp.array([1.0, 1.7, 2.2, 4.0])
    exact = logistic_and_sine_solution(there)
    ys = solve(exact[0], there)
    assert relative(ys / exact, jnp.ones(ys.shape)) < 100 * tolerance
    back = solve(ys[-1], there[::-1])
    assert jnp.abs(back[-1] - exact[0]).max() < 100 * tolerance * (1 + jnp.abs(ys).max())


@pytest.mark.parametrize("name", ["Dopri5", "Tsit5", "Bosh3", "Dopri8"])
def test_order_of_the_methods_that_choose_their_steps(name):
    """With steps of one size halving divides the error by 2^order, within 25 %, on a circle."""
    tableau = getattr(tableaux, name.upper())

    def field(s, y):
        return jnp.sum(y**2) * jnp.stack([-y[1], y[0]])

    @jax.jit
    def error(n):
        y = jax.lax.fori_loop(
            0, n, lambda i, y: rungekutta.step(field, tableau, i * 4 / n, y, 4.0 / n), jnp.array([1.0, 0.0])
        )
        return jnp.abs(y - jnp.array([jnp.cos(4.0), jnp.sin(4.0)])).max()

    n = 16 if tableau.order == 8 else 64
    assert abs(error(n) / error(2 * n) / 2**tableau.order - 1) < 0.25


@pytest.fixture(scope="module")
def detest():
    """All problems side by side as one system, and SciPy's solution of each."""
    sizes = [len(y0) for _, y0 in PROBLEMS.values()]
    cuts = np.cumsum(sizes)[:-1]
    ends = [
        solve_ivp(
            lambda t, y, f=f: f(np, t, y), (0, END), np.asarray(y0), method="DOP853", rtol=1e-12, atol=1e-13
        ).y[:, -1]
        for f, y0 in PROBLEMS.values()
    ]

    def field(t, y, args):
        parts = zip(PROBLEMS.values(), jnp.split(y, cuts), strict=True)
        return jnp.concatenate([f(jnp, t, own) for (f, _), own in parts])

    y0 = np.concatenate([np.asarray(y0) for _, y0 in PROBLEMS.values()])
    return field, y0, cuts, ends


@pytest.mark.parametrize(
    "name", ["Bosh3", *(pytest.param(name, marks=slow) for name in ("Dopri5", "Tsit5", "Dopri8"))]
)
def test_detest(name, detest):
    """Each problem to within 1,000 tolerances; D5, an eccentric orbit, multiplies errors by as much again."""
    field, y0, cuts, ends = detest
    for tolerance in (1e-6, 1e-9):
        solver = ADAPTIVE[name](jnp.array(tolerance), jnp.array(tolerance))
        found = ode.odeint(field, y0, jnp.array([0.0, END]), solver=solver, max_steps=100_000).ys[-1]
        for problem, ours, theirs in zip(PROBLEMS, np.split(np.asarray(found), cuts), ends, strict=True):
            error = np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())
            assert error < (1e6 if problem == "D5" else 1e3) * tolerance, (problem, error)


@slow
@pytest.mark.parametrize("problem", [name for name, (_, y0) in PROBLEMS.items() if len(y0) <= 10])
def test_detest_by_the_stiff_solver(problem, detest):
    f, y0 = PROBLEMS[problem]
    end = detest[3][list(PROBLEMS).index(problem)]
    solver = ode.Rodas5P(1e-8, 1e-8)
    ours = ode.odeint(lambda t, y, _: f(jnp, t, y), np.asarray(y0), [0.0, END], solver=solver).ys[-1]
    assert np.abs(ours - end).max() < 1e3 * 1e-8 * max(1.0, np.abs(end).max()) * (
        1e3 if problem == "D5" else 1
    )


@pytest.mark.parametrize("solver", [ode.Bosh3(), pytest.param(ode.Dopri5(), marks=slow)])
def test_members_of_a_batch_do_not_see_each_other(solver):
    """Another order, and other members beside, give the same bits where the field is plain arithmetic.

    Fewer members give the same to rounding only: XLA computes four or eight at once, and the rest one by one,
    where it may contract a product and a sum otherwise.
    """
    rates = jnp.linspace(0.3, 40.0, 8)

    @jax.jit
    @jax.vmap
    def solve(rate):
        field = lambda t, y, rate: rate / (1 + rate * t) * jnp.stack([y[1], -y[0]])  # noqa: E731
        y0, ts = jnp.array([1.0, 0.3]), jnp.array([0.0, 0.4, 2.0])
        return ode.odeint(field, y0, ts, rate, solver=solver).ys

    every = solve(rates)
    order = np.array([5, 2, 7, 0, 1, 6, 4, 3])
    np.testing.assert_array_equal(solve(rates[order]), every[order])
    np.testing.assert_array_equal(solve(rates.at[:2].set(7.0).at[7].set(0.1))[2:7], every[2:7])
    rounding = 16 * np.finfo(every.dtype).eps
    np.testing.assert_allclose(solve(rates[2:7]), every[2:7], rtol=rounding, atol=rounding)
