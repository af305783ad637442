import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.explain.adapt import JaxModel, NumpyModel
from backthrough.explain.compared import Occlusion, saliency
from backthrough.explain.measures import (
    deletion_curve,
    insertion_curve,
    relevance_mass,
    relevance_rank,
    scatter,
    smallest_area,
)
from backthrough.explain.measures.artifacts import least_variation, total_variation
from backthrough.explain.units import Columns, Grid

KEY = jax.random.key(0)


class Filled:
    """Puts a number, or numbers with noise, where features are hidden."""

    conditional = False
    leaks = False

    def __init__(self, value, noise=0.0):
        self.value, self.noise = value, noise

    def sample(self, x, mask, *, key, n_samples):
        drawn = self.value + self.noise * jax.random.normal(key, (n_samples, *x.shape))
        return jnp.where(mask, x, drawn.astype(x.dtype))


RANDOM = np.random.default_rng(0)
WEIGHTS, X = RANDOM.standard_normal(10), RANDOM.standard_normal((3, 10))
LINEAR = JaxModel(lambda x: (x @ WEIGHTS + 1)[None], outputs="sigmoid")


def test_curves_of_a_linear_model_in_closed_form():
    effects = WEIGHTS * (X - 0.5)
    options = {"infill": Filled(0.5), "units": Columns(), "n_steps": 10, "key": KEY}
    falling = -np.sort(-effects, axis=1)
    steps = np.concatenate([np.zeros((3, 1)), np.cumsum(falling, axis=1)], axis=1)
    start = X @ WEIGHTS + 1
    hidden = deletion_curve(LINEAR, X, effects, **options)
    np.testing.assert_allclose(hidden.score, start[:, None] - steps, atol=1e-4)
    np.testing.assert_allclose(hidden.probability, 1 / (1 + np.exp(steps - start[:, None])), atol=1e-5)
    shown = insertion_curve(LINEAR, X, effects, **options)
    empty = WEIGHTS.sum() / 2 + 1
    np.testing.assert_allclose(shown.score, empty + steps, atol=1e-4)
    np.testing.assert_allclose(shown.score_area, (shown.score[:, :-1] + shown.score[:, 1:]).mean(1) / 2)
    np.testing.assert_allclose(hidden.fraction, np.arange(11) / 10)
    assert hidden.table().shape == (11, 3)


def test_units_of_unequal_area_are_hidden_whole():
    units = Columns(((0, 1, 2, 3), (4,), (5, 6, 7, 8, 9)))  # each has a third of the area
    own = np.zeros((3, 10))
    own[:, 4] = 1
    curve = deletion_curve(LINEAR, X, own, infill=Filled(0.0), units=units, n_steps=3, key=KEY)
    np.testing.assert_allclose(curve.score[:, 1], X @ WEIGHTS + 1 - X[:, 4] * WEIGHTS[4], atol=1e-4)
    np.testing.assert_allclose(curve.score[:, 3], 1, atol=1e-4)


def test_pictures_lose_all_channels_of_a_place():
    x = np.ones((1, 4, 4, 2))
    model = NumpyModel(lambda rows: rows.sum((1, 2, 3))[:, None], outputs="sigmoid")
    curve = deletion_curve(
        model, x, np.arange(16.0).reshape(1, 4, 4), infill=Filled(0.0), n_steps=16, key=KEY
    )
    np.testing.assert_allclose(curve.score[0], 32 - 2 * np.arange(17), atol=1e-4)
    cells = deletion_curve(
        model, x, np.arange(16.0).reshape(1, 4, 4), infill=Filled(0.0), units=Grid(2, 2), n_steps=4, key=KEY
    )
    np.testing.assert_allclose(cells.score[0], 32 - 8 * np.arange(5), atol=1e-4)


def test_ties_come_in_random_order_and_the_same_key_gives_the_same():
    x = np.repeat(X[:1], 200, axis=0)
    options = {"infill": Filled(0.0), "units": Columns(), "n_steps": 2}
    curve = deletion_curve(LINEAR, x, np.zeros((200, 10)), key=KEY, **options)
    half = curve.score[:, 1]
    wanted = 1 + (X[0] @ WEIGHTS) / 2
    assert abs(half.mean() - wanted) < 4 * half.std() / np.sqrt(200)
    again = deletion_curve(LINEAR, x, np.zeros((200, 10)), key=KEY, **options)
    assert np.array_equal(again.score, curve.score)


def test_scores_are_means_over_draws():
    options = {"infill": Filled(0.0, 1.0), "units": Columns(), "n_steps": 1, "n_samples": 4000}
    curve = deletion_curve(LINEAR, X, np.zeros((3, 10)), key=KEY, **options)
    error = np.linalg.norm(WEIGHTS) / np.sqrt(4000)
    assert (np.abs(curve.score[:, 1] - 1) < 4 * error).all()


def test_a_box_that_is_certain_has_the_scores_of_its_clip():
    sure = NumpyModel(lambda rows: np.stack([rows[:, 0] <= 0, rows[:, 0] > 0], axis=1).astype(float))
    settings = {"target": 1, "units": Columns(), "clip": 0.01}
    limit = np.log(99)
    x = np.array([[1.0, 1.0]])
    curve = deletion_curve(sure, x, [[2.0, 1.0]], infill=Filled(-1.0), n_steps=2, key=KEY, **settings)
    np.testing.assert_allclose(curve.score, [[limit, -limit, -limit]], rtol=1e-5)
    found = saliency(sure, x, method=Occlusion(), **settings)
    np.testing.assert_allclose(found, [[2 * limit, 0]], rtol=1e-5)


def test_the_smallest_area_that_is_enough():
    weights = np.array([4.0, 3.0, 0.0, 0.0, -1.0])
    model = JaxModel(lambda x: (x @ weights - 3.5)[None], outputs="sigmoid")
    x = np.ones((2, 5))
    maps = np.array([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5]])  # a good one and the worst
    options = {"infill": Filled(0.0), "units": Columns(), "n_steps": 5, "key": KEY}
    kept = smallest_area(model, x, maps, objective="keep", **options)
    assert kept.reached.tolist() == [True, False]
    np.testing.assert_allclose(kept.area, [0.2, 1.0])
    np.testing.assert_allclose(kept.score, [0.5, 2.5], atol=1e-5)
    deleted = smallest_area(model, x, maps, objective="delete", **options)
    np.testing.assert_allclose(deleted.area, [0.2, 1.0])
    assert deleted.reached.tolist() == [True, False]
    never = smallest_area(model, x, maps, objective="delete", asked=-50.0, **options)
    assert not never.reached.any()
    assert (never.area == 1).all()
    assert np.isfinite(never.score).all()


def test_relevance_in_closed_form():
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, :2] = True
    other = np.zeros((1, 4, 4), bool)
    other[0, 3, :2] = True
    own = np.zeros((1, 4, 4))
    own[0, 0, 0], own[0, 3, 0], own[0, 1, 1], own[0, 2, 2] = 3.0, 1.0, 4.0, -7.0
    assert relevance_mass(own, mask).tolist() == [3 / 8]
    assert relevance_mass(own, mask, distractors=other).tolist() == [3 / 4]
    assert relevance_rank(own, mask).tolist() == [1 / 2]
    for flat in (np.zeros((1, 4, 4)), np.ones((1, 4, 4))):
        np.testing.assert_allclose(relevance_mass(flat, mask), 2 / 16)
        np.testing.assert_allclose(relevance_mass(flat, mask, distractors=other), 1 / 2)
        np.testing.assert_allclose(relevance_rank(flat, mask), 2 / 16)
    perfect = mask.astype(float)
    assert relevance_mass(perfect, mask).tolist() == relevance_rank(perfect, mask).tolist() == [1]


def test_scatter_of_known_shapes():
    square, two, specks, row = np.zeros((4, 24, 24))
    square[4:12, 3:11] = 2
    two[2:6, 2:6] = two[12:16, 14:18] = 1
    specks[1:20:2, 1:20:2] = 1
    row[3, 2:18] = 1
    found = scatter([square, two, specks, row])
    side = 2 * np.ceil(2 * np.sqrt(32))
    np.testing.assert_allclose(found, [0, 1 - side / 32, 1 - 40 / 400, 1 - 16 / 34])


def test_scatter_of_nested_squares_is_none_and_of_noise_large():
    y, x = np.indices((17, 17)) - 8
    pyramid = np.exp(-np.maximum(abs(y), abs(x)) / 3.0)
    noise = np.random.default_rng(0).random((17, 17))
    found = scatter([pyramid, 5 * pyramid + 3, noise, np.zeros((17, 17)), np.full((17, 17), 2.0)])
    np.testing.assert_allclose(found[:2], 0, atol=1e-12)
    assert found[2] > 0.6
    assert found[3:].tolist() == [0, 0]


def test_no_arrangement_has_less_variation():
    """The bound over all arrangements of nine values on the grid, by trying many."""
    random = np.random.default_rng(1)
    for _ in range(20):
        values = np.round(random.random(9) * random.integers(0, 2, 9), 1)
        least = least_variation(values.reshape(1, 3, 3))[0]
        tried = np.stack([random.permutation(values).reshape(3, 3) for _ in range(2000)])
        assert total_variation(tried).min() >= least - 1e-9


def test_refusals():
    options = {"infill": Filled(0.0), "units": Columns(), "key": KEY}
    with pytest.raises(ArgumentError, match="2 maps for 3 inputs"):
        deletion_curve(LINEAR, X, np.zeros((2, 10)), **options)
    with pytest.raises(ArgumentError, match="shape .example, 10."):
        deletion_curve(LINEAR, X, np.zeros((3, 9)), **options)
    with pytest.raises(DataError, match="finite"):
        deletion_curve(LINEAR, X, np.full((3, 10), np.inf), **options)
    with pytest.raises(ArgumentError, match="True or False"):
        relevance_mass(np.ones((1, 2, 2)), np.ones((1, 2, 2)))
    with pytest.raises(DataError, match="input 0 is empty"):
        relevance_mass(np.ones((1, 2, 2)), np.zeros((1, 2, 2), bool))
