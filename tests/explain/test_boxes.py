import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.explain.adapt import JaxModel
from backthrough.explain.measures import (
    localisation,
    localisation_error,
    pointing_game,
    saliency_metric,
    tight_boxes,
)
from backthrough.explain.measures.saliency_metric import enlarged

FULL = [0, 0, 7, 5]


def picture(*parts):
    found = np.zeros((1, 5, 7))
    for rows, columns, value in parts:
        found[0, rows, columns] = value
    return found


@pytest.mark.parametrize("threshold", ["mean", "value", "energy"])
def test_boxes_have_right_ends(threshold):
    for y0, y1, x0, x1 in ((0, 5, 6, 7), (4, 5, 0, 7), (3, 5, 5, 7), (1, 2, 2, 3)):
        own = picture((slice(y0, y1), slice(x0, x1), 2.0))
        assert tight_boxes(own, threshold=threshold).tolist() == [[x0, y0, x1, y1]]


@pytest.mark.parametrize("threshold", ["mean", "value", "energy"])
def test_maps_without_relief_have_the_whole_picture(threshold):
    flat = np.stack([np.zeros((5, 7)), np.full((5, 7), 0.1), np.full((5, 7), -3.0)])
    assert tight_boxes(flat, threshold=threshold).tolist() == [FULL] * 3


def test_the_largest_part_counts():
    two = picture((slice(0, 2), slice(0, 2), 1.0), (4, slice(4, 7), 5.0))
    assert tight_boxes(two).tolist() == [[0, 0, 2, 2]]  # the mean, .54, lies below both
    assert tight_boxes(two, level=2.0).tolist() == [[4, 4, 7, 5]]
    equal = picture((0, slice(0, 2), 1.0), (4, slice(5, 7), 1.1))
    assert tight_boxes(equal).tolist() == [[5, 4, 7, 5]]
    touching = picture((0, 0, 1.0), (1, 1, 1.0))
    assert tight_boxes(touching).tolist() == [[0, 0, 2, 2]]


def test_energy_takes_the_fewest_places():
    own = picture((0, 0, 5.0), (0, 1, 4.0), (0, 2, 1.0))
    assert tight_boxes(own, threshold="energy", level=0.5).tolist() == [[0, 0, 1, 1]]
    assert tight_boxes(own, threshold="energy", level=0.6).tolist() == [[0, 0, 2, 1]]
    assert tight_boxes(own, threshold="energy", level=0.95).tolist() == [[0, 0, 3, 1]]


def test_localisation_in_closed_form():
    own = np.repeat(picture((slice(0, 4), slice(0, 4), 1.0)), 3, axis=0)
    true = np.array([[0.0, 0, 4, 4], [2, 0, 6, 4], [0, 0, 4, 2]])
    found = localisation(own, true)
    np.testing.assert_allclose(found.overlap, [1, 8 / 24, 0.5])
    assert found.error == pytest.approx(2 / 3)  # one half is not enough
    several = np.stack([true, np.full((3, 4), np.nan)], axis=1)
    assert localisation_error(own, several) == found.error
    several[1, 1] = [0, 0, 4, 4]
    assert localisation_error(own, several) == pytest.approx(1 / 3)


def test_pointing():
    own = picture((2, 3, 9.0))
    for box, wanted in (([3, 2, 4, 3], 1), ([4, 2, 6, 3], 0), ([0, 0, 7, 2], 0)):
        assert pointing_game(own, np.array([box], float)).tolist() == [wanted]
    assert pointing_game(own, [[4.0, 2, 6, 3]], tolerance=1).tolist() == [1]
    for flat in (np.zeros((1, 5, 7)), np.ones((1, 5, 7))):
        np.testing.assert_allclose(pointing_game(flat, [[0.0, 0, 2, 3]]), 6 / 35)


SURE = JaxModel(lambda x: jnp.asarray([100.0, 0.0]))


def test_the_saliency_metric_in_closed_form():
    x = np.random.default_rng(0).standard_normal((2, 10, 20, 1))
    whole = np.array([[0.0, 0, 20, 10]] * 2)
    np.testing.assert_allclose(saliency_metric(SURE, x, whole, target=0).values, 0, atol=1e-6)
    logits = np.array([1.0, 0.5])
    small = np.array([[3.0, 2, 6, 4], [0, 0, 20, 5]])
    found = saliency_metric(JaxModel(lambda x: jnp.asarray(logits)), x, small, target=1)
    log_p = 0.5 - np.logaddexp(1.0, 0.5)
    np.testing.assert_allclose(found.values, np.log([0.05, 0.5]) - log_p, rtol=1e-5)
    np.testing.assert_allclose(found.area, [6 / 200, 0.5])


def test_crops_are_enlarged_from_their_own_pixels():
    line = np.array([9.0, 1.0, 3.0, 9.0])
    np.testing.assert_allclose(enlarged(line, 0, 1, 3), [1, 1.5, 2.5, 3])
    np.testing.assert_array_equal(enlarged(line, 0, 0, 4), line)
    np.testing.assert_array_equal(enlarged(line, 0, 2, 3), [3, 3, 3, 3])
    x = np.zeros((1, 8, 8, 1), np.float32)
    x[0, 2:4, 4:8] = 1
    model = JaxModel(lambda x: jnp.stack([x.min() * 5, x.max() + 1]))  # sees whether the crop is all ones
    inside = saliency_metric(model, x, [[4.0, 2, 8, 4]], target=0)
    np.testing.assert_allclose(inside.log_p, 5 - np.logaddexp(5, 2), rtol=1e-5)
    first = JaxModel(lambda x: jnp.stack([x.min() * 5, x.max() + 1]))
    again = saliency_metric(first, x.transpose(0, 3, 1, 2), [[4.0, 2, 8, 4]], target=0, channels="first")
    np.testing.assert_allclose(again.log_p, inside.log_p)


def test_refusals():
    own = picture((0, 0, 1.0))
    with pytest.raises(ArgumentError, match="maps.None. for one"):
        tight_boxes(own[0])
    with pytest.raises(DataError, match="finite"):
        tight_boxes(own * np.nan)
    with pytest.raises(ArgumentError, match="level"):
        tight_boxes(own, threshold="energy", level=1.0)
    with pytest.raises(DataError, match="input 0 has no box"):
        localisation(own, np.full((1, 4), np.nan))
    with pytest.raises(DataError, match="x0 < x1"):
        localisation(own, np.array([[3.0, 0, 1, 2]]))
    with pytest.raises(ArgumentError, match="shape .1, 4."):
        pointing_game(own, np.ones((2, 4)))
    with pytest.raises(ArgumentError, match="outside"):
        saliency_metric(SURE, np.zeros((1, 8, 8, 1)), [[0.0, 0, 9, 4]], target=0)
