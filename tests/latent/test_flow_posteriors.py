"""Posteriors made by bijections: linear ones have closed forms, others are summed up on grids."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from backthrough.core import ArgumentError
from backthrough.flows import (
    AuxiliaryCoupling,
    ContinuousFlow,
    Flow,
    FlowjaxBijection,
    GatedMLP,
    Hutchinson,
    PlanarField,
    auxiliary_coupling_flow,
    coupling_flow,
)
from backthrough.latent import (
    ELBO,
    IWAE,
    AuxiliaryFlow,
    AuxiliaryFlowEncoder,
    FactorisedGaussian,
    FlowEncoder,
    FullGaussian,
    ImplicitPosterior,
    bound,
)
from backthrough.ode import RK4, Unrolled

KEY = jax.random.key(0)
FIXED = {"solver": RK4(20), "adjoint": Unrolled()}
MEAN, LOG_SCALE = jnp.array([0.5, -1.0]), jnp.array([0.2, -0.4])
BASE = FactorisedGaussian(MEAN, LOG_SCALE)
MATRIX = np.array([[1.5, 0.0], [0.7, 0.8]])
OFFSET = np.array([0.3, -0.2])
EPS = float(jnp.finfo(jnp.result_type(float)).eps)


def affine(offset, matrix):
    from flowjax.bijections import TriangularAffine

    return FlowjaxBijection(TriangularAffine(jnp.asarray(offset), jnp.asarray(matrix)))


def draws(posterior, n):
    keys = jax.random.split(KEY, n)
    z, log_q = jax.jit(jax.vmap(lambda key: posterior.sample_and_log_prob(key=key)))(keys)
    return np.asarray(z, np.float64), np.asarray(log_q, np.float64)


@pytest.mark.parametrize(
    ("base", "factor"),
    [
        (BASE, np.diag(np.exp(np.asarray(LOG_SCALE)))),
        (FullGaussian(MEAN, LOG_SCALE, jnp.full((2, 2), 0.6)), None),
    ],
)
def test_a_gaussian_moved_by_a_matrix_is_scipys(base, factor):
    factor = np.asarray(base.factor) if factor is None else factor
    known = multivariate_normal(MATRIX @ np.asarray(MEAN) + OFFSET, MATRIX @ factor @ factor.T @ MATRIX.T)
    flow = Flow(base, affine(OFFSET, MATRIX))
    z, log_q = draws(flow, 200)
    np.testing.assert_allclose(log_q, known.logpdf(z), rtol=1e3 * EPS, atol=1e3 * EPS)
    np.testing.assert_allclose(jax.vmap(flow.log_prob)(jnp.asarray(z)), log_q, rtol=1e3 * EPS, atol=1e3 * EPS)


class Line(eqx.Module):
    """Mean and log scale of v that are linear in what is seen."""

    slope: jax.Array
    intercept: jax.Array
    log_scale: jax.Array

    def __call__(self, seen):
        return jnp.append(self.slope * seen[0] + self.intercept, self.log_scale)


def test_an_auxiliary_flow_of_a_linear_map_has_its_closed_form():
    """With r = q(v | z) every draw has the log-density of z; with another, KL(q(v | z) || r) more on average.

    (z, v) = A (z0, v0) + b is Gaussian. The mean of 20,000 within 6 standard errors: false alarm 2e-9.
    """
    base = FactorisedGaussian(MEAN[:1], LOG_SCALE[:1])
    start = np.diag([np.exp(2 * float(LOG_SCALE[0])), 1.0])
    covariance = MATRIX @ start @ MATRIX.T
    mean = MATRIX @ np.array([float(MEAN[0]), 0.0]) + OFFSET
    slope = covariance[0, 1] / covariance[0, 0]
    variance = covariance[1, 1] - slope * covariance[0, 1]
    exact = Line(*(jnp.asarray(a) for a in (slope, mean[1] - slope * mean[0], 0.5 * np.log(variance))))
    z, log_q = draws(AuxiliaryFlow(base, affine(OFFSET, MATRIX), exact), 200)
    known = norm(mean[0], np.sqrt(covariance[0, 0]))
    np.testing.assert_allclose(log_q, known.logpdf(z[:, 0]), rtol=1e3 * EPS, atol=1e3 * EPS)

    other = Line(jnp.asarray(slope), exact.intercept + 0.5, exact.log_scale + 0.3)
    divergence = 0.3 + 0.5 * (variance + 0.25) / (variance * np.exp(0.6)) - 0.5
    z, log_q = draws(AuxiliaryFlow(base, affine(OFFSET, MATRIX), other), 20_000)
    excess = log_q - known.logpdf(z[:, 0])
    assert abs(excess.mean() - divergence) < 6 * excess.std() / np.sqrt(len(excess))


class Model(eqx.Module):
    """z ~ N(0, 1), x | z ~ N(z, 1), so x ~ N(0, 2)."""

    slope: jax.Array

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jax.scipy.stats.norm.logpdf(x, self.slope * z).sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, (1,))


MODEL, X = Model(jnp.array(1.0)), jnp.ones((1, 1))
LOG_P = norm.logpdf(1.0, 0.0, np.sqrt(2.0))


def auxiliary():
    """Nonlinear, with a condition, and a narrow r, so that weights have a finite variance."""
    keys = jax.random.split(jax.random.key(3), 2)
    flow = auxiliary_coupling_flow(1, 2, hidden_size=10, condition_size=1, key=keys[0])
    wide = jnp.array([2.5, 0.0])  # scales near 1
    flow = eqx.tree_at(
        lambda f: [m.layers[-1].bias for b in f.bijections for m in (b.from_z, b.from_v)],
        flow,
        replace_fn=lambda bias: bias + wide,
    )
    reverse = eqx.nn.MLP(2, 2, 5, 1, key=keys[1])
    reverse = eqx.tree_at(lambda r: r.layers[-1].bias, reverse, jnp.array([0.0, -0.6]))
    base = FactorisedGaussian(jnp.array([0.8]), jnp.array([0.5]))
    return AuxiliaryFlow(base, flow, reverse, jnp.array([0.4]))


def check_auxiliary_bound():
    """log p(x) > ELBO of the marginal q(z) > auxiliary bound; L_k between it and log p(x).

    The density of (z, v) is summed over a grid. Means within 6 standard errors: false alarm 1e-8 in all.
    """
    q, x = auxiliary(), jnp.ones((1, 1))
    axes = np.linspace(-6, 13, 951), np.linspace(-10, 6, 801)
    area = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)

    @jax.jit
    @jax.vmap
    def look(point):
        start, log_det = q.bijection.inverse_and_log_det(point, q.condition)
        log_start = jax.scipy.stats.norm.logpdf(start[0], q.base.mean[0], jnp.exp(q.base.log_scale[0]))
        log_joint = log_start + jax.scipy.stats.norm.logpdf(start[1]) + log_det
        mean, log_scale = q.reverse(jnp.append(point[0], q.condition))
        return log_joint, jax.scipy.stats.norm.logpdf(point[1], mean, jnp.exp(log_scale))

    log_joint, log_r = (np.asarray(a, np.float64).reshape(951, 801) for a in look(jnp.asarray(grid)))
    joint = np.exp(log_joint)
    assert joint.sum() * area == pytest.approx(1.0, abs=1e-3)
    marginal = joint.sum(1) * (axes[1][1] - axes[1][0])
    log_p_joint = norm.logpdf(axes[0]) + norm.logpdf(1.0, axes[0])
    seen = joint > 0
    terms = (np.broadcast_to(log_p_joint[:, None], joint.shape) + log_r - log_joint)[seen]
    on_grid = (joint[seen] * terms).sum() * area
    is_seen = marginal > 0
    of_marginal = (marginal[is_seen] * (log_p_joint[is_seen] - np.log(marginal[is_seen]))).sum()
    of_marginal *= axes[0][1] - axes[0][0]
    assert on_grid < of_marginal - 0.01 < of_marginal < LOG_P - 0.01

    def repeated(objective, n):
        values = np.asarray(
            jax.jit(
                lambda key: bound(
                    Model(jnp.array(1.0)), lambda x: q, jnp.tile(x, (n, 1)), key=key, objective=objective
                )
            )(KEY)
        )
        return values.mean(), values.std(ddof=1) / np.sqrt(n)

    found, error = repeated(ELBO(), 40_000)
    assert abs(found - on_grid) < 6 * error + 1e-3
    ten, error_10 = repeated(IWAE(10), 4_000)
    many, error_400 = repeated(IWAE(400), 200)
    assert found + 6 * np.hypot(error, error_10) < ten < many + 6 * np.hypot(error_10, error_400)
    assert abs(many - LOG_P) < 0.02 + 6 * error_400  # weights are unbiased: what is left falls with 1 / k


def test_the_auxiliary_bound_is_what_a_grid_says_and_below_the_marginal_one():
    """In double precision, so that there is one flow to fit the grid to."""
    with jax.enable_x64(True):
        check_auxiliary_bound()


def test_what_has_no_density_refuses_by_name():
    q = auxiliary()
    for objective, gradient in ((ELBO(), "stl"), (IWAE(5), "dreg")):
        with pytest.raises(ArgumentError, match="AuxiliaryFlow has no log_prob"):
            bound(MODEL, lambda x: q, X, key=KEY, objective=objective, gradient=gradient)
    with pytest.raises(ArgumentError, match="AuxiliaryFlow has none"):
        ImplicitPosterior(MODEL, q, X[0], 3).log_prob(jnp.zeros(1), key=KEY)


def test_a_density_with_noise_makes_no_weighted_bound():
    """Measured with a linear field: IWAE(200) of Hutchinson() was .28 nats above log p(x)."""
    keys = jax.random.split(KEY, 2)
    base = FactorisedGaussian(jnp.zeros(1), jnp.zeros(1))
    noisy = Flow(base, ContinuousFlow(GatedMLP(1, (4,), key=keys[0]), trace=Hutchinson(), **FIXED))
    for objective, gradient in ((IWAE(5), "reparam"), (IWAE(5), "dreg"), (ELBO(), "stl")):
        with pytest.raises(ArgumentError, match=r"needs the density of q without noise.*ExactTrace"):
            bound(MODEL, lambda x: noisy, X, key=KEY, objective=objective, gradient=gradient)
    with pytest.raises(ArgumentError, match="ImplicitPosterior needs the density of q without noise"):
        ImplicitPosterior(MODEL, noisy, X[0], 3)
    assert np.isfinite(bound(MODEL, lambda x: noisy, X, key=KEY, objective=ELBO(2))).all()
    closed = Flow(base, ContinuousFlow(PlanarField(1, 2, key=keys[1]), trace=Hutchinson(), **FIXED))
    assert np.isfinite(bound(MODEL, lambda x: closed, X, key=KEY, objective=IWAE(2), gradient="dreg")).all()


def flow_encoder(bijection, condition_size):
    network = eqx.nn.MLP(3, 4 + condition_size, 8, 1, jnp.tanh, key=KEY)
    return FlowEncoder(network, bijection, jnp.zeros(3), 2)


ENCODERS = {
    "coupling": lambda: flow_encoder(coupling_flow(2, 2, hidden_size=6, condition_size=5, key=KEY), 5),
    "continuous": lambda: flow_encoder(ContinuousFlow(PlanarField(2, 3, key=KEY), **FIXED), 0),
    "continuous, conditional": lambda: flow_encoder(
        ContinuousFlow(GatedMLP(2, (6,), condition_size=5, key=KEY), **FIXED), 5
    ),
}


class TwoLatents(eqx.Module):
    weight: jax.Array

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jax.scipy.stats.norm.logpdf(x, self.weight @ z).sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, (2,))


@pytest.mark.parametrize(
    "name", [pytest.param(own, marks=[pytest.mark.slow] * own.startswith("continuous")) for own in ENCODERS]
)
def test_encoders_of_flows_are_densities_with_every_gradient(name):
    """Density on a grid sums to one; all gradients reach network and bijection, and share one value."""
    encoder = ENCODERS[name]()
    x = jnp.array([[0.4, -1.0, 2.0], [1.0, 0.5, 0.0]])
    q = encoder(x[0])
    axis = jnp.linspace(-8, 8, 161)
    grid = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = jnp.exp(jax.jit(jax.vmap(q.log_prob))(grid))
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=2e-3)
    model = TwoLatents(jnp.arange(6.0).reshape(3, 2) / 4)

    @eqx.filter_jit
    @eqx.filter_grad(has_aux=True)
    def slopes(encoder, gradient):
        values = bound(model, encoder, x, key=KEY, objective=IWAE(3), gradient=gradient)
        return values.sum(), values

    (plain, values), (dreg, same) = slopes(encoder, "reparam"), slopes(encoder, "dreg")
    np.testing.assert_allclose(values, same, rtol=1e-3)
    for found in (plain, dreg):
        for part in (found.network, found.bijection):
            leaves = jax.tree_util.tree_leaves(eqx.filter(part, eqx.is_inexact_array))
            assert all(np.isfinite(leaf).all() for leaf in leaves)
            assert max(float(jnp.abs(leaf).max()) for leaf in leaves) > 1e-4


def test_an_encoder_of_auxiliary_flows():
    keys = jax.random.split(KEY, 3)
    encoder = AuxiliaryFlowEncoder(
        eqx.nn.MLP(3, 4 + 5, 8, 1, jnp.tanh, key=keys[0]),
        auxiliary_coupling_flow(2, hidden_size=6, condition_size=5, key=keys[1]),
        eqx.nn.MLP(2 + 5, 4, 8, 2, key=keys[2]),
        jnp.array([1.0, 2.0, 3.0]),
        2,
    )
    x = jnp.array([[0.4, -1.0, 2.0], [1.0, 0.5, 0.0]])
    numbers = encoder.network(x[0] - jnp.array([1.0, 2.0, 3.0]))
    q = encoder(x[0])
    np.testing.assert_array_equal(q.base.mean, numbers[:2])
    np.testing.assert_array_equal(q.base.log_scale, numbers[2:4])
    np.testing.assert_array_equal(q.condition, numbers[4:])
    model = TwoLatents(jnp.arange(6.0).reshape(3, 2) / 4)

    @eqx.filter_jit
    @eqx.filter_grad
    def slopes(encoder):
        return bound(model, encoder, x, key=KEY, objective=ELBO(3)).sum()

    for part in (found := slopes(encoder)).network, found.bijection, found.reverse:
        leaves = jax.tree_util.tree_leaves(eqx.filter(part, eqx.is_inexact_array))
        assert max(float(jnp.abs(leaf).max()) for leaf in leaves) > 1e-4


def test_wrong_sizes_are_named():
    short = FlowEncoder(lambda x: jnp.zeros(3), coupling_flow(2, 1, key=KEY), jnp.zeros(1), 2)
    with pytest.raises(
        ArgumentError, match=r"FlowEncoder must return at least 2 \* latent = 4 numbers, got 3"
    ):
        short(jnp.zeros(1))
    base = FactorisedGaussian(jnp.zeros(2), jnp.zeros(2))
    flow = AuxiliaryCoupling(2, hidden_size=3, key=KEY)
    with pytest.raises(ArgumentError, match=r"must return 2 \* latent = 4 numbers.*got shape \(3,\)"):
        AuxiliaryFlow(base, flow, lambda z: jnp.zeros(3)).sample_and_log_prob(key=KEY)
    with pytest.raises(ArgumentError, match=r"points of shape \(6,\), got \(4,\)"):
        AuxiliaryFlow(base, AuxiliaryCoupling(3, key=KEY), lambda z: jnp.zeros(4)).sample_and_log_prob(
            key=KEY
        )
