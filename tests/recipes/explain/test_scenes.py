import dataclasses

import jax
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import load
from backthrough.recipes.explain.scene_classifier import presence_logits, train_scene_classifier
from backthrough.recipes.explain.scenes import MOST, SIDE, joined, make_scenes
from backthrough.recipes.explain.textures import TEXTURES, texture


@pytest.fixture(scope="module")
def digits():
    return load("mnist-small")


@pytest.fixture(scope="module")
def scenes(digits):
    return make_scenes(digits, 40, seed=3, split="train")


@pytest.fixture(scope="module")
def twins(digits):
    return make_scenes(digits, 20, seed=3, split="train", twins=True)


def test_what_scenes_hold(scenes):
    assert scenes.images.shape == (40, SIDE, SIDE, 1)
    assert scenes.images.min() >= -1
    assert scenes.images.max() <= 1
    n_digits = (scenes.classes >= 0).sum(1)
    assert set(n_digits) == {3, 4}
    assert (scenes.present.sum(1) == n_digits).all()
    assert scenes.present[np.arange(40), scenes.target].all()
    assert (scenes.masks.sum(axis=1) <= 1).all()  # no two overlap
    assert (scenes.masks.any(axis=(2, 3)) == (scenes.classes >= 0)).all()
    assert not (scenes.target_masks & scenes.distractor_masks).any()
    assert np.array_equal(scenes.target_masks, scenes.masks[:, 0])


def test_boxes_are_tight(scenes):
    for scene in range(len(scenes)):
        for digit in range(MOST):
            mask, box = scenes.masks[scene, digit], scenes.boxes[scene, digit]
            if not mask.any():
                assert np.isnan(box).all()
                continue
            x0, y0, x1, y1 = box.astype(int)
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            for side in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1]):
                assert side.any()


def test_twins(twins):
    assert (twins.classes[:, 0] == twins.classes[:, 1]).all()
    assert (twins.present.sum(1) == (twins.classes >= 0).sum(1) - 1).all()
    assert np.array_equal(twins.target_masks, twins.masks[:, 0] | twins.masks[:, 1])


def test_the_mask_is_what_the_digit_changed(digits):
    """With all ink removed from the pictures, the same seed gives the same backgrounds and places."""
    blank = dataclasses.replace(digits, train_images=np.zeros_like(digits.train_images))
    whole, empty = (make_scenes(own, 10, seed=0, split="train") for own in (digits, blank))
    changed = (whole.images != empty.images)[..., 0]
    assert (changed <= whole.masks.any(axis=1)).all()
    assert changed.sum() > 0.99 * whole.masks.sum()  # white on white changes nothing


def test_seeds_and_splits(digits, scenes):
    again = make_scenes(digits, 40, seed=3, split="train")
    assert np.array_equal(again.images, scenes.images)
    for seed, split in ((4, "train"), (3, "test")):
        assert not np.array_equal(make_scenes(digits, 40, seed=seed, split=split).images, scenes.images)


def test_textures_differ_and_are_standardised():
    found = {kind: texture(kind, 96, np.random.default_rng(0)) for kind in TEXTURES}
    for values in found.values():
        assert abs(values.mean()) < 1e-6
        assert abs(values.std() - 1) < 1e-6

    def roughness(values, axis):
        return np.mean(np.diff(values, axis=axis) ** 2)

    assert roughness(found["grass"], 1) > 5 * roughness(found["grass"], 0)  # blades stand
    assert 0.8 < roughness(found["gravel"], 1) / roughness(found["gravel"], 0) < 1.25
    assert np.argmin(found["brick"].mean(axis=1)) % 8 == 0  # a joint at every course


def test_joined(scenes, twins):
    both = joined(scenes, twins)
    assert len(both) == 60
    assert not both.twins
    assert np.array_equal(both.target[40:], twins.target)


def test_refusals(digits):
    with pytest.raises(ArgumentError, match="split"):
        make_scenes(digits, 1, seed=0, split="valid")
    with pytest.raises(ArgumentError, match="n must"):
        make_scenes(digits, 0, seed=0, split="train")
    cut = {name: getattr(digits, name)[:, :20, :20] for name in ("train_images", "test_images")}
    small = dataclasses.replace(digits, **cut)
    with pytest.raises(DataError, match="28 x 28"):
        make_scenes(small, 1, seed=0, split="train")
    one = dataclasses.replace(digits, train_labels=np.zeros_like(digits.train_labels))
    with pytest.raises(DataError, match="all ten"):
        make_scenes(one, 1, seed=0, split="train")


@pytest.mark.slow
def test_the_classifier_tells_digits(digits):
    jax.config.update("jax_disable_most_optimizations", False)  # it runs far longer than it compiles
    scenes = make_scenes(digits, 2000, seed=0, split="train")
    model = train_scene_classifier(scenes, key=jax.random.key(0), n_steps=300)
    tests = make_scenes(digits, 200, seed=1, split="test")
    right = (presence_logits(model, tests) > 0) == tests.present
    always_absent = 1 - tests.present.mean()
    assert right.mean() > always_absent + 0.05  # four standard errors and more
