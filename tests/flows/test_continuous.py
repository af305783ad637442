"""Continuous flows against linear dynamics, whose flow is the matrix exponential, and against each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from backthrough.core import ArgumentError
from backthrough.flows import (
    ContinuousFlow,
    ExactTrace,
    Flow,
    GatedMLP,
    Hutchinson,
    PlanarField,
    StandardNormal,
)
from backthrough.ode import Dopri5, blackbox

KEY = jax.random.key(0)
MATRIX = np.array([[0.3, -1.0], [0.8, -0.4]])
OFFSET = np.array([0.5, -0.2])
TIGHT = Dopri5(rtol=1e-6, atol=1e-6)


class Linear(eqx.Module):
    """dx/dt = A x + b, and no closed form of its divergence."""

    matrix: jax.Array
    offset: jax.Array

    def __call__(self, t, x, condition):
        return self.matrix @ x + self.offset


LINEAR = Linear(jnp.asarray(MATRIX, jnp.float32), jnp.asarray(OFFSET, jnp.float32))


def test_a_linear_field_makes_the_gaussian_that_it_must():
    """x(1) = e^A (x + A^-1 b) - A^-1 b, so N(0, I) becomes a Gaussian that SciPy knows."""
    push = scipy.linalg.expm(MATRIX)
    mean = (push - np.eye(2)) @ np.linalg.solve(MATRIX, OFFSET)
    known = scipy.stats.multivariate_normal(mean, push @ push.T)
    flow = Flow(StandardNormal(2), ContinuousFlow(LINEAR, solver=TIGHT))
    points = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(flow.log_prob)))(points)
    np.testing.assert_allclose(value, known.logpdf(points), rtol=1e-4, atol=1e-5)
    expected = -(points - mean) @ np.linalg.inv(push @ push.T)
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-4)
    y, log_det = flow.bijection.transform_and_log_det(jnp.asarray(points[0]))
    np.testing.assert_allclose(y, push @ points[0] + mean, rtol=1e-4)
    assert float(log_det) == pytest.approx(np.trace(MATRIX), abs=1e-5)
    draw, log_prob = flow.sample_and_log_prob(key=KEY)
    assert float(log_prob) == pytest.approx(known.logpdf(draw), abs=1e-4)


@pytest.mark.parametrize("field", [PlanarField(2, 5, key=KEY), GatedMLP(2, (8,), key=KEY)])
def test_the_log_determinant_is_that_of_the_jacobian(field):
    flow = ContinuousFlow(field, solver=TIGHT)
    x = jnp.array([0.4, -1.2])

    @jax.jit
    def look(x):
        y, log_det = flow.transform_and_log_det(x)
        back, opposite = flow.inverse_and_log_det(y)
        return log_det, back, opposite, jax.jacrev(lambda x: flow.transform_and_log_det(x)[0])(x)

    log_det, back, opposite, jacobian = look(x)
    np.testing.assert_allclose(back, x, atol=1e-4)
    assert float(log_det + opposite) == pytest.approx(0, abs=1e-4)
    assert float(log_det) == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-4)


def test_a_closed_form_is_the_trace_and_hutchinson_is_right_on_average():
    field = PlanarField(3, 7, condition_size=2, key=KEY)
    condition, x, t = jnp.array([0.3, -2.0]), jnp.array([0.1, 1.0, -0.7]), jnp.array(0.6)
    value, divergence = field.with_divergence(t, x, condition)

    def plain(x):
        return field(t, x, condition)

    np.testing.assert_allclose(divergence, np.trace(jax.jacfwd(plain)(x)), rtol=1e-5)
    exact, other = ExactTrace()(plain, x, None)
    np.testing.assert_allclose((*exact, other), (*value, divergence), rtol=1e-5)
    for noise in ("rademacher", "normal"):
        trace = Hutchinson(noise)

        def estimate(key, trace=trace):
            return trace(plain, x, trace.draw(x, key=key))[1]

        found = jax.vmap(estimate)(jax.random.split(KEY, 10_000))
        error = found.std() / 100
        assert abs(found.mean() - divergence) < 6 * error  # false alarm: 2e-9
        assert error > 0


def test_a_hamiltonian_field_keeps_volumes():
    inner = GatedMLP(1, (6,), key=KEY)

    def field(t, x, condition):
        return jnp.concatenate([inner(t, x[1:], condition), -inner(t, x[:1], condition)])

    _, log_det = ContinuousFlow(field).transform_and_log_det(jnp.array([0.5, -0.3]))
    assert float(log_det) == pytest.approx(0, abs=1e-6)


def test_a_density_sums_to_one_and_is_a_posterior():
    """On a grid; then as q(z | x) in a bound, with the features of an encoder as its condition."""
    field = PlanarField(2, 4, condition_size=3, key=KEY)
    field = jax.tree_util.tree_map(lambda leaf: 2 * leaf if eqx.is_array(leaf) else leaf, field)
    flow = Flow(StandardNormal(2), ContinuousFlow(field), jnp.array([1.0, -1.0, 0.5]))
    axis = jnp.linspace(-6, 6, 61)
    grid = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = jnp.exp(jax.jit(jax.vmap(flow.log_prob))(grid))
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=1e-4)
    assert float(density.std()) > 0

    from backthrough.latent import Posterior

    assert isinstance(flow, Posterior)


def test_a_black_box_solves_it():
    flow = ContinuousFlow(LINEAR, solver=blackbox("RK45"))
    _, log_det = flow.transform_and_log_det(jnp.array([0.4, -1.2]))
    assert float(log_det) == pytest.approx(np.trace(MATRIX), abs=1e-4)


def test_wrong_use_is_named():
    x = jnp.zeros(2)
    with pytest.raises(ArgumentError, match=r"Hutchinson\(\) estimates the trace with noise and needs key="):
        ContinuousFlow(LINEAR, trace=Hutchinson()).transform_and_log_det(x)
    with pytest.raises(ArgumentError, match=r"the exact trace in 100 dimensions .* use trace=Hutchinson\(\)"):
        ContinuousFlow(lambda t, x, condition: x).transform_and_log_det(jnp.zeros(100))
    with pytest.raises(ArgumentError, match="takes a condition of 3 entries, got 0"):
        ContinuousFlow(PlanarField(2, 4, condition_size=3, key=KEY)).transform_and_log_det(x)
    with pytest.raises(ArgumentError, match="unknown noise 'gauss'"):
        Hutchinson("gauss")
    with pytest.raises(ArgumentError, match=r"points of shape \(2,\), got \(3,\)"):
        ContinuousFlow(PlanarField(2, 4, key=KEY)).transform_and_log_det(jnp.zeros(3))
    with pytest.raises(ArgumentError, match=r"points of shape \(2,\), got \(3,\)"):
        ContinuousFlow(GatedMLP(2, (4,), key=KEY)).transform_and_log_det(jnp.zeros(3))
    with pytest.raises(ArgumentError, match="most must be at least 1, got 0"):
        ExactTrace(0)
    with pytest.raises(ArgumentError, match="t1 must be"):
        ContinuousFlow(LINEAR, t1=0.0)
    with pytest.raises(ArgumentError, match=r"field must be callable as field\(t, x, condition\)"):
        ContinuousFlow(3.0)
