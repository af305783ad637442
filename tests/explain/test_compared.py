import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from backthrough.core import ArgumentError
from backthrough.explain.adapt import JaxModel, NumpyModel
from backthrough.explain.compared import (
    BBMP,
    RISE,
    Gradient,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
    saliency,
)
from backthrough.explain.compared.bbmp import blur_matrix
from backthrough.explain.units import Columns, Grid, Pixels, Positions

SHAPE = (6, 5, 3)
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal(SHAPE)
X = RANDOM.standard_normal((4, *SHAPE))
LINEAR = JaxModel(lambda x: jnp.sum(x * WEIGHTS)[None], outputs="sigmoid")
BLACK_BOX = NumpyModel(lambda rows: (rows * WEIGHTS).sum((1, 2, 3))[:, None], outputs="sigmoid")


def mean_in_cells(maps, units):
    canvas = units.cut(SHAPE).canvas
    found = np.empty_like(maps)
    for unit in np.unique(canvas):
        found[:, canvas == unit] = maps[:, canvas == unit].mean(1, keepdims=True)
    return found


def test_gradients_of_a_linear_model():
    wanted = np.broadcast_to(np.abs(WEIGHTS).max(-1), (4, 6, 5))
    key = jax.random.key(0)
    np.testing.assert_allclose(saliency(LINEAR, X, method=Gradient()), wanted, rtol=1e-5)
    found = saliency(LINEAR, X, method=SmoothGrad(n_samples=3), key=key)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    cells = saliency(LINEAR, X, method=Gradient(), units=Grid(2, 2))
    np.testing.assert_allclose(cells, mean_in_cells(wanted, Grid(2, 2)), rtol=1e-4)


def test_channels_first_and_last_are_one():
    first = JaxModel(lambda x: jnp.sum(x * WEIGHTS.transpose(2, 0, 1))[None], outputs="sigmoid")
    for method in (Gradient(), Occlusion(window=2)):
        last = saliency(LINEAR, X, method=method)
        found = saliency(first, X.transpose(0, 3, 1, 2), method=method, units=Pixels("first"))
        np.testing.assert_allclose(found, last, rtol=1e-3, atol=1e-4)


def test_integrated_gradients_are_complete():
    """Their sum is the score of x less that of the baseline (Sundararajan et al. 2017, prop. 1)."""

    def model(x):
        return jnp.stack([jnp.sum(jnp.tanh(x * WEIGHTS)), jnp.sum(x**3) / 20, 0.5])

    maps = saliency(model, X, target=1, method=IntegratedGradients(baseline=0.3, n_steps=40))

    def score(x):
        own = np.asarray(model(x), float)
        return own[1] - np.logaddexp(own[0], own[2])

    wanted = [score(jnp.asarray(x)) - score(jnp.full(SHAPE, 0.3)) for x in X]
    np.testing.assert_allclose(maps.sum((1, 2)), wanted, atol=2e-4)
    linear = saliency(LINEAR, X, method=IntegratedGradients(baseline=np.ones(3), n_steps=2))
    np.testing.assert_allclose(linear, (WEIGHTS * (X - 1)).sum(-1), atol=1e-4)


def test_occlusion_of_a_linear_model():
    falls = (WEIGHTS * (X - 0.5)).sum(-1)
    for model in (LINEAR, BLACK_BOX):
        found = saliency(model, X, method=Occlusion(baseline=0.5))
        np.testing.assert_allclose(found, falls, atol=1e-4)
    found = saliency(LINEAR, X, method=Occlusion(window=3, stride=2, baseline=0.5))
    total, count = np.zeros_like(falls), np.zeros((6, 5))
    for row in (0, 2, 3):  # the last one touches the edge
        for column in (0, 2):
            part = np.s_[row : row + 3, column : column + 3]
            total[:, *part] += falls[:, *part].sum((1, 2))[:, None, None]
            count[part] += 1
    np.testing.assert_allclose(found, total / count, atol=1e-4)


def test_occlusion_of_columns_and_positions():
    weights = np.array([1.0, -2.0, 3.0, 4.0])
    model = JaxModel(lambda x: jnp.sum(x * weights)[None], outputs="sigmoid")
    rows = np.array([[1.0, 1.0, 2.0, -1.0]])
    found = saliency(model, rows, method=Occlusion(), units=Columns(((0, 2), (1, 3))))
    np.testing.assert_allclose(found, [[7, -6, 7, -6]], atol=1e-5)
    found = saliency(model, rows, method=Occlusion(window=2, stride=2), units=Positions())
    np.testing.assert_allclose(found, [[-1, -1, 2, 2]], atol=1e-5)


class Constant:
    """Puts 0.5 where features are hidden."""

    conditional = False
    leaks = False

    def sample(self, x, mask, *, key, n_samples):
        return jnp.broadcast_to(jnp.where(mask, x, 0.5), (n_samples, *x.shape))


def test_occlusion_with_an_infiller():
    method = Occlusion(infill=Constant(), n_samples=2)
    found = saliency(LINEAR, X, method=method, key=jax.random.key(0))
    np.testing.assert_allclose(found, (WEIGHTS * (X - 0.5)).sum(-1), atol=1e-4)


def test_rise_masks_have_the_right_mean():
    """With a score of 1 the map estimates E[mask] / p, which is 1 wherever a place lies."""
    model = NumpyModel(lambda rows: np.ones((len(rows), 1)), outputs="sigmoid")
    method = RISE(n_masks=4000, cells=3, p=0.3, uses_probability=False)
    maps = saliency(model, X[:2], method=method, key=jax.random.key(1))
    assert np.abs(maps - 1).max() < 0.12


def test_rise_finds_the_only_pixel_that_counts():
    pictures = np.ones((2, 12, 12, 1))

    def model(rows):
        return 6 * rows[:, 3:4, 8, 0] - 3

    maps = saliency(
        NumpyModel(model, outputs="sigmoid"), pictures, method=RISE(n_masks=2000), key=jax.random.key(2)
    )
    for own in maps:
        row, column = np.unravel_index(own.argmax(), own.shape)
        assert abs(row - 3) <= 1
        assert abs(column - 8) <= 1


def test_bbmp_hides_what_the_class_needs():
    """The score is the contrast within a checkered patch, which a blur takes away."""
    side, patch = 24, np.s_[4:10, 12:18]
    pictures = np.zeros((1, side, side, 1))
    checks = np.indices((6, 6)).sum(0) % 2 * 2.0 - 1
    pictures[0, *patch, 0] = checks
    model = JaxModel(lambda x: (jnp.sum(x[patch][..., 0] * checks) / 3 - 6)[None], outputs="sigmoid")
    maps = saliency(model, pictures, method=BBMP(jitter=0, blur=3.0), key=jax.random.key(0))
    inside = maps[0][patch].mean()
    assert maps.min() >= -1e-6  # rounding
    assert maps.max() <= 1
    assert inside > 0.3
    maps[0][patch] = 0
    assert maps[0].mean() < inside / 5


def test_the_blur_is_that_of_scipy():
    impulse = np.zeros(41)
    impulse[20] = 1
    found = blur_matrix(41, 2.0) @ impulse
    np.testing.assert_allclose(found, gaussian_filter1d(impulse, 2.0, truncate=8), atol=1e-6)


def test_one_is_as_among_many():
    key = jax.random.key(0)
    alone = saliency(LINEAR, X[1:2], method=IntegratedGradients())
    np.testing.assert_allclose(alone[0], saliency(LINEAR, X, method=IntegratedGradients())[1], atol=1e-5)
    first, again = (saliency(LINEAR, X, method=RISE(n_masks=16), key=key) for _ in range(2))
    assert np.array_equal(first, again)


def test_refusals():
    key = jax.random.key(0)
    with pytest.raises(ArgumentError, match="use Occlusion.. or RISE"):
        saliency(BLACK_BOX, X, method=Gradient())
    with pytest.raises(ArgumentError, match="give key="):
        saliency(LINEAR, X, method=RISE())
    with pytest.raises(ArgumentError, match="larger than the canvas"):
        saliency(LINEAR, X, method=Occlusion(window=9))
    with pytest.raises(ArgumentError, match="leaves gaps"):
        saliency(LINEAR, X, method=Occlusion(window=2, stride=3))
    with pytest.raises(ArgumentError, match="does not fit"):
        saliency(LINEAR, X, method=IntegratedGradients(baseline=np.ones(4)))
    rows = np.ones((2, 4))
    row_model = JaxModel(lambda x: x.sum()[None], outputs="sigmoid")
    with pytest.raises(ArgumentError, match="RISE is for pictures"):
        saliency(row_model, rows, method=RISE(), units=Columns(), key=key)
    with pytest.raises(ArgumentError, match="no neighbours"):
        saliency(row_model, rows, method=Occlusion(window=2), units=Columns())
    with pytest.raises(ArgumentError, match="p must lie"):
        saliency(LINEAR, X, method=RISE(p=1.0), key=key)


def test_what_counts_as_one_is_said_by_units():
    """The mean over a cell stands at all of its places."""
    key = jax.random.key(3)
    for method in (IntegratedGradients(n_steps=3), RISE(n_masks=16)):
        places = saliency(LINEAR, X, method=method, key=key)
        cells = saliency(LINEAR, X, method=method, units=Grid(3, 2), key=key)
        np.testing.assert_allclose(cells, mean_in_cells(places, Grid(3, 2)), rtol=1e-3, atol=1e-4)
