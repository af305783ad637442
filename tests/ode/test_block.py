import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from backthrough.core import ArgumentError
from backthrough.ode import RK4, ODEBlock, Unrolled

MATRIX = jnp.array([[-0.3, 1.0], [-1.0, -0.2]])
XS = jnp.array([[1.0, 0.5], [-0.3, 2.0], [0.1, -4.0]])


class Linear(eqx.Module):
    matrix: jax.Array

    def __call__(self, t, y, args):
        assert args is None
        return self.matrix @ y


@pytest.mark.parametrize("options", [{}, {"solver": RK4(40), "adjoint": Unrolled()}])
def test_a_layer_is_the_solution_at_its_last_time_and_trains(options):
    """Of a linear field: the matrix exponential, and its derivative."""

    def loss(block):
        return jnp.sum(jax.vmap(block)(XS) ** 2)

    block = ODEBlock(Linear(MATRIX), t1=1.5, **options)
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss))(block)
    ends = XS @ scipy.linalg.expm(1.5 * np.asarray(MATRIX)).T
    slope = 1.5 * scipy.linalg.expm_frechet(1.5 * np.asarray(MATRIX).T, np.asarray(2 * ends.T @ XS))[1]
    np.testing.assert_allclose(value, np.sum(ends**2), rtol=1e-4)
    np.testing.assert_allclose(gradient.field.matrix, slope, rtol=1e-3)


def test_a_layer_stands_in_a_sequence_and_tells_its_cost():
    block = ODEBlock(lambda t, y, args: -y)
    network = eqx.nn.Sequential([eqx.nn.Linear(2, 2, key=jax.random.key(0)), block])
    np.testing.assert_allclose(network(XS[0]), jnp.exp(-1.0) * network[0](XS[0]), rtol=1e-4)
    stats = block.solve(XS[0]).stats
    assert stats.accepted > 0
    assert stats.evaluations >= 6 * stats.accepted


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match="field must be callable as field"):
        ODEBlock(3)
    with pytest.raises(ArgumentError, match="t1 must be finite and greater than zero"):
        ODEBlock(jnp.sin, t1=0.0)
    with pytest.raises(ArgumentError, match="max_steps must be at least 1, got 0"):
        ODEBlock(jnp.sin, max_steps=0)
