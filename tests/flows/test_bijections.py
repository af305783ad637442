"""Every bijection against what all have in common: its inverse, and the Jacobian that JAX makes."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.flows import (
    AuxiliaryCoupling,
    Chain,
    ContinuousFlow,
    Flow,
    FlowjaxBijection,
    GatedMLP,
    Inverse,
    PlanarField,
    StandardNormal,
    auxiliary_coupling_flow,
    coupling_flow,
    masked_autoregressive_flow,
    planar_chain,
    spline_coupling_flow,
)
from backthrough.ode import RK4, Unrolled

KEY = jax.random.key(0)
SIZE, CONDITION = 4, 3


def lower_triangular():
    from flowjax.bijections import TriangularAffine

    return FlowjaxBijection(TriangularAffine(jnp.arange(4.0), jnp.eye(4) + 0.3 * jnp.ones((4, 4))))


def continuous(field):
    """Finely solved: what is left of the solver's error is far below the tolerance."""
    return ContinuousFlow(field, solver=RK4(60), adjoint=Unrolled())


BIJECTIONS = {  # name: (how to make it with a condition of that many entries, whether it takes one)
    "planar": (lambda n: planar_chain(SIZE, 2, key=KEY), False),
    "planar field": (lambda n: continuous(PlanarField(SIZE, 3, condition_size=n, key=KEY)), True),
    "gated field": (lambda n: continuous(GatedMLP(SIZE, (6,), condition_size=n, key=KEY)), True),
    "coupling": (lambda n: coupling_flow(SIZE, 3, hidden_size=8, condition_size=n, key=KEY), True),
    "spline": (lambda n: spline_coupling_flow(SIZE, 3, hidden_size=8, condition_size=n, key=KEY), True),
    "autoregressive": (
        lambda n: masked_autoregressive_flow(SIZE, 3, hidden_size=8, condition_size=n, key=KEY),
        True,
    ),
    "auxiliary": (
        lambda n: auxiliary_coupling_flow(SIZE // 2, 2, hidden_size=8, condition_size=n, key=KEY),
        True,
    ),
    "any of flowjax": (lambda n: lower_triangular(), False),
    "chain": (
        lambda n: Chain(
            [
                Inverse(masked_autoregressive_flow(SIZE, 2, hidden_size=8, condition_size=n, key=KEY)),
                planar_chain(SIZE, 2, key=KEY),
                AuxiliaryCoupling(SIZE // 2, hidden_size=8, condition_size=n, key=KEY),
            ]
        ),
        True,
    ),
}
CASES = [(name, n) for name, (_, takes) in BIJECTIONS.items() for n in ((0, CONDITION) if takes else (0,))]


def moved(bijection):
    """With every array moved a little, so that nothing is tested only where it starts."""
    arrays, rest = eqx.partition(bijection, eqx.is_inexact_array)
    leaves, tree = jax.tree_util.tree_flatten(arrays)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    leaves = [
        leaf + 0.3 * jax.random.normal(own, leaf.shape, leaf.dtype)
        for leaf, own in zip(leaves, keys, strict=True)
    ]
    return eqx.combine(jax.tree_util.tree_unflatten(tree, leaves), rest)


@pytest.mark.parametrize(("name", "n"), CASES)
def test_round_trip_and_determinant(name, n):
    """In double precision, compiled and batched, forwards and backwards."""
    with jax.enable_x64(True):
        bijection = moved(BIJECTIONS[name][0](n))
        xs = 1.5 * jax.random.normal(jax.random.key(1), (6, SIZE), jnp.float64)
        conditions = jax.random.normal(jax.random.key(2), (6, CONDITION), jnp.float64)

        @jax.jit
        @jax.vmap
        def look(x, condition):
            condition = condition if n else None
            y, log_det = bijection.transform_and_log_det(x, condition)
            back, back_log_det = bijection.inverse_and_log_det(y, condition)
            forwards = jax.jacfwd(lambda x: bijection.transform_and_log_det(x, condition)[0])(x)
            backwards = jax.jacfwd(lambda y: bijection.inverse_and_log_det(y, condition)[0])(y)
            return (
                y,
                back - x,
                log_det - jnp.linalg.slogdet(forwards)[1],
                back_log_det - jnp.linalg.slogdet(backwards)[1],
                log_det + back_log_det,
            )

        y, *differences = look(xs, conditions)
        assert y.dtype == jnp.float64
        assert float(jnp.abs(y - xs).max()) > 0.1  # not the identity
        tolerance = 1e-6 if "field" in name else 1e-9
        for difference in differences:
            np.testing.assert_allclose(difference, 0, atol=tolerance)
        if n:
            changed = look(xs, conditions + 1.0)[0]
            assert float(jnp.abs(changed - y).max()) > 1e-3


@pytest.mark.parametrize(
    "make",
    [coupling_flow, spline_coupling_flow, lambda *a, **k: Inverse(masked_autoregressive_flow(*a, **k))],
)
def test_densities_sum_to_one(make):
    """By quadrature in two dimensions; every draw comes with its log-density."""
    flow = Flow(StandardNormal(2), moved(make(2, 2, hidden_size=8, key=KEY)))
    axis = jnp.linspace(-12, 12, 1201)
    grid = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = jnp.exp(jax.jit(jax.vmap(flow.log_prob))(grid))
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=2e-3)
    draws, log_probs = jax.jit(jax.vmap(lambda key: flow.sample_and_log_prob(key=key)))(
        jax.random.split(KEY, 100)
    )
    np.testing.assert_allclose(jax.vmap(flow.log_prob)(draws), log_probs, atol=1e-3)


def test_auxiliary_couplings_are_the_papers_formula():
    flow = AuxiliaryCoupling(2, hidden_size=5, condition_size=1, key=KEY)
    z, v, h = np.array([0.3, -1.2]), np.array([2.0, 0.4]), np.array([0.7])

    def network(mlp, part):
        first, second = ((np.asarray(layer.weight), np.asarray(layer.bias)) for layer in mlp.layers)
        hidden = first[0] @ np.append(part, h) + first[1]
        return np.split(second[0] @ np.where(hidden > 0, hidden, np.expm1(hidden)) + second[1], 2)

    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    a1, m1 = network(flow.from_z, z)
    new_v = v * sigmoid(a1) + m1
    a2, m2 = network(flow.from_v, new_v)
    y, log_det = flow.transform_and_log_det(jnp.asarray(np.append(z, v)), jnp.asarray(h))
    np.testing.assert_allclose(y, np.append(z * sigmoid(a2) + m2, new_v), rtol=1e-5)
    np.testing.assert_allclose(log_det, np.log(sigmoid(np.append(a1, a2))).sum(), rtol=1e-5)


def test_auxiliary_log_determinants_stay_finite():
    """log sigmoid(-200) is -200, and log of a sigmoid in single precision is -inf."""
    flow = AuxiliaryCoupling(1, hidden_size=2, key=KEY)
    flow = eqx.tree_at(
        lambda f: (f.from_z.layers[-1].bias, f.from_v.layers[-1].bias),
        flow,
        (jnp.array([-200.0, 0.0]), jnp.array([-200.0, 0.0])),
    )
    value, slope = jax.value_and_grad(lambda x: flow.transform_and_log_det(x)[1])(jnp.ones(2))
    assert float(value) == pytest.approx(-400.0, abs=5.0)
    assert np.isfinite(slope).all()


def test_flows_of_flowjax_are_trained_by_gradients_of_ours():
    """Against finite differences in one direction, in double precision."""
    with jax.enable_x64(True):
        flow = Flow(StandardNormal(3), moved(spline_coupling_flow(3, 2, hidden_size=4, key=KEY)))
        arrays, rest = eqx.partition(flow, eqx.is_inexact_array)
        direction = jax.tree_util.tree_map(jnp.ones_like, arrays)
        x = jnp.array([0.4, -1.0, 2.0])

        @jax.jit
        def along(t):
            here = jax.tree_util.tree_map(lambda a, d: a + t * d, arrays, direction)
            return eqx.combine(here, rest).log_prob(x)

        step = 1e-5
        by_difference = (along(step) - along(-step)) / (2 * step)
        assert abs(float(by_difference)) > 1e-3
        np.testing.assert_allclose(jax.grad(along)(0.0), by_difference, rtol=1e-6)


def test_flowjax_is_imported_when_it_is_used():
    code = "import sys, backthrough.flows; assert 'flowjax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_wrong_use_is_named():
    from flowjax.bijections import Exp
    from flowjax.distributions import Normal

    for make in (coupling_flow, spline_coupling_flow, masked_autoregressive_flow):
        with pytest.raises(ArgumentError, match="size must be at least 2 where there is no condition"):
            make(1, key=KEY)
        with pytest.raises(ArgumentError, match="depth must be at least 1"):
            make(2, 0, key=KEY)
        one = make(1, 1, condition_size=2, key=KEY)
        assert one.transform_and_log_det(jnp.ones(1), jnp.ones(2))[0].shape == (1,)
    flow = coupling_flow(3, 1, key=KEY)
    with pytest.raises(ArgumentError, match=r"points of shape \(3,\), got \(5,\); use jax.vmap"):
        flow.transform_and_log_det(jnp.zeros(5))
    with pytest.raises(ArgumentError, match=r"made without a condition, got one of shape \(2,\)"):
        flow.inverse_and_log_det(jnp.zeros(3), jnp.zeros(2))
    conditional = coupling_flow(3, 1, condition_size=2, key=KEY)
    with pytest.raises(ArgumentError, match=r"needs a condition of shape \(2,\), got none"):
        conditional.transform_and_log_det(jnp.zeros(3))
    with pytest.raises(ArgumentError, match=r"takes a condition of shape \(2,\), got \(3,\)"):
        conditional.transform_and_log_det(jnp.zeros(3), jnp.zeros(3))
    with pytest.raises(ArgumentError, match="takes a bijection of flowjax, got Normal"):
        FlowjaxBijection(Normal(jnp.zeros(2)))
    with pytest.raises(ArgumentError, match=r"points of shape \(size,\), this one has shape \(\)"):
        FlowjaxBijection(Exp())
    with pytest.raises(ArgumentError, match="interval must be"):
        spline_coupling_flow(2, interval=-1.0, key=KEY)
    with pytest.raises(ArgumentError, match=r"points of shape \(6,\), got \(3,\)"):
        AuxiliaryCoupling(3, key=KEY).transform_and_log_det(jnp.zeros(3))
