"""Every bijection against what all have in common; planar flows against the paper's formula."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.flows import Chain, Flow, Inverse, Planar, StandardNormal, planar_chain

KEY = jax.random.key(0)


def planar(*, size, along):
    """A planar flow whose w . u, before it is moved, is `along`."""
    flow = Planar(size, key=KEY)
    shift = along * flow.weight / (flow.weight @ flow.weight)
    orthogonal = jnp.zeros(size).at[:2].set(jnp.stack([-flow.weight[1], flow.weight[0]]))
    return eqx.tree_at(lambda f: (f.shift, f.bias), flow, (shift + 0.7 * orthogonal, jnp.array(0.4)))


BIJECTIONS = {
    "planar": planar(size=3, along=2.0),
    "planar, moved": planar(size=3, along=-4.0),
    "chain": planar_chain(3, 4, key=KEY),
    "inverse": Inverse(planar(size=3, along=1.0)),
    "nested": Chain([Inverse(planar_chain(3, 2, key=KEY)), planar(size=3, along=-1.0)]),
}


@pytest.fixture(params=BIJECTIONS, scope="module")
def bijection(request):
    return BIJECTIONS[request.param]


def test_inverse_determinant_and_gradients(bijection):
    """The determinant of the Jacobian that JAX makes, and the derivative of the inverse by its theorem."""
    xs = 2.0 * jax.random.normal(KEY, (20, 3))

    @jax.jit
    @jax.vmap
    def look(x):
        y, log_det = bijection.transform_and_log_det(x)
        back, back_log_det = bijection.inverse_and_log_det(y)
        jacobian = jax.jacfwd(lambda x: bijection.transform_and_log_det(x)[0])(x)
        inverse = jax.jacrev(lambda y: bijection.inverse_and_log_det(y)[0])(y)
        return back - x, log_det + back_log_det, log_det - jnp.linalg.slogdet(jacobian)[1], inverse @ jacobian

    error, sums, determinants, identity = look(xs)
    np.testing.assert_allclose(error, 0, atol=2e-5)
    np.testing.assert_allclose(sums, 0, atol=2e-5)
    np.testing.assert_allclose(determinants, 0, atol=2e-5)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-4)


def test_a_planar_flow_is_the_papers_formula():
    flow = planar(size=3, along=-4.0)
    w, u, b = (np.asarray(leaf, np.float64) for leaf in (flow.weight, flow.shift, flow.bias))
    moved = u + (np.log1p(np.exp(w @ u)) - 1 - w @ u) * w / (w @ w)
    assert w @ moved > -1
    x = np.array([0.3, -1.0, 2.0])
    height = np.tanh(w @ x + b)
    y, log_det = flow.transform_and_log_det(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(y, x + moved * height, rtol=1e-5)
    np.testing.assert_allclose(log_det, np.log(abs(1 + (1 - height**2) * (w @ moved))), rtol=1e-5)


def test_the_inverses_gradient_reaches_the_parameters():
    """Finite differences in the parameters, in double precision."""
    with jax.enable_x64(True):
        flow = jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.float64), planar(size=3, along=-4.0))
        y = jnp.array([0.5, -1.5, 0.2])

        def f(bias, shift):
            own = eqx.tree_at(lambda f: (f.bias, f.shift), flow, (bias, shift))
            x, log_det = own.inverse_and_log_det(y)
            return x @ jnp.arange(1.0, 4.0) + log_det

        found = jax.grad(f, argnums=(0, 1))(flow.bias, flow.shift)
        step = 1e-6
        by_bias = (f(flow.bias + step, flow.shift) - f(flow.bias - step, flow.shift)) / (2 * step)
        np.testing.assert_allclose(found[0], by_bias, rtol=1e-6)
        for i in range(3):
            move = step * jnp.eye(3)[i]
            by_shift = (f(flow.bias, flow.shift + move) - f(flow.bias, flow.shift - move)) / (2 * step)
            np.testing.assert_allclose(found[1][i], by_shift, rtol=1e-5, atol=1e-8)


def test_a_flow_is_a_density_and_its_own_sampler():
    """Density on a grid sums to one; draws have the log-density that they come with."""
    flow = Flow(StandardNormal(2), Chain([planar(size=2, along=-3.0), planar(size=2, along=2.0)]))
    axis = jnp.linspace(-9, 9, 301)
    grid = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = jnp.exp(jax.jit(jax.vmap(flow.log_prob))(grid))
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=1e-3)
    draws, log_probs = jax.jit(jax.vmap(lambda key: flow.sample_and_log_prob(key=key)))(
        jax.random.split(KEY, 4000)
    )
    np.testing.assert_allclose(jax.vmap(flow.log_prob)(draws), log_probs, atol=2e-4)
    # E[x] under the density on the grid against the draws' mean; 6 standard errors, 4 comparisons
    for moment in (lambda x: x, jnp.square):
        expected = (density[:, None] * moment(grid)).sum(0) / density.sum()
        error = moment(draws).std(0) / np.sqrt(len(draws))
        assert (jnp.abs(moment(draws).mean(0) - expected) < 6 * error + 1e-3).all()


def test_wrong_use_is_named():
    with pytest.raises(ArgumentError, match="size must be at least 1, got 0"):
        StandardNormal(0)
    with pytest.raises(ArgumentError, match="depth must be at least 1"):
        planar_chain(2, 0, key=KEY)
    with pytest.raises(ArgumentError, match="Chain needs at least one bijection"):
        Chain([])
    with pytest.raises(ArgumentError, match=r"one point of shape \(2,\), got \(5, 2\); use jax.vmap"):
        Flow(StandardNormal(2), Planar(2, key=KEY)).log_prob(jnp.zeros((5, 2)))
