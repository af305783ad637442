"""The network for images, and the masks that it learns from."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.infill import ImageVAEAC, MaskedAutoencoder, check_infiller
from backthrough.explain.infill.image_training import TrainingImages
from backthrough.explain.infill.masks import image_mask, subset_mask
from backthrough.explain.infill.unet import UNet

KEY = jax.random.key(0)


def waves(n, height=9, width=6, seed=0):
    """Images of one wave each: a few kept pixels tell all others."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1))
    rows, columns = np.mgrid[:height, :width]
    return (3 + np.sin(0.7 * rows + 0.4 * columns + phase)).astype(np.float32)


@eqx.filter_jit
def draw(infiller, x, mask, n_samples=1):
    return infiller.sample(x, mask, key=KEY, n_samples=n_samples)


def made(cls, images, channels, **options):
    """One with the weights that training starts from."""
    data = TrainingImages.of(images, channels)
    return cls(data.seen, data.mean, data.std, channels=channels, widths=(4, 6), key=KEY, **options)


@pytest.fixture(scope="module")
def fitted():
    return made(MaskedAutoencoder, waves(8), None)


def test_it_reads_nothing_hidden_and_takes_sides_of_any_length(fitted):
    check_infiller(fitted, waves(3), key=KEY, n_masks=3)
    with pytest.raises(ArgumentError, match="the infiller was fitted to values from 2"):
        fitted.check(waves(2) - 50)
    with pytest.raises(ArgumentError, match=r"channels=None an example is \(height, width\)"):
        draw(fitted, jnp.zeros((9, 6, 1)), jnp.ones((9, 6, 1), bool))


def test_one_that_draws_reads_nothing_hidden_either():
    infiller = made(ImageVAEAC, waves(8), None, n_latent=2)
    check_infiller(infiller, waves(3), key=KEY, n_masks=3)
    x, nothing = jnp.asarray(waves(1)[0], jnp.float16), jnp.zeros((9, 6), bool)
    draws = draw(infiller, x, nothing, 3)
    assert draws.dtype == jnp.float16
    assert (np.asarray(draws).std(0) > 0).any()


def test_layouts_are_the_same_image():
    images = np.stack([waves(4, 8, 8), waves(4, 8, 8, seed=1)], axis=-1)
    last, first = (
        made(MaskedAutoencoder, own, channels)
        for own, channels in ((images, "last"), (np.moveaxis(images, -1, 1), "first"))
    )
    mask = np.random.default_rng(0).random((8, 8, 2)) < 0.5
    found = draw(last, jnp.asarray(images[0]), jnp.asarray(mask))
    other = draw(first, *(jnp.asarray(np.moveaxis(part, -1, 0)) for part in (images[0], mask)))
    np.testing.assert_allclose(np.moveaxis(np.asarray(other), 1, -1), found, atol=1e-5)


def test_half_precision_comes_back(fitted):
    x = jnp.asarray(waves(1)[0], jnp.float16)
    mask = jnp.asarray(np.random.default_rng(0).random((9, 6)) < 0.5)
    found = draw(fitted, x, mask, 2)
    assert found.dtype == jnp.float16
    np.testing.assert_array_equal(np.asarray(found[1])[np.asarray(mask)], np.asarray(x)[np.asarray(mask)])


def test_bad_options_are_named():
    with pytest.raises(ArgumentError, match="X must have 4 axes"):
        MaskedAutoencoder.fit(waves(4), key=KEY)
    with pytest.raises(ArgumentError, match="pictures of uint8"):
        MaskedAutoencoder.fit(waves(4).astype(np.uint8), key=KEY, channels=None)
    with pytest.raises(ArgumentError, match="widths must be at least 1, got 0"):
        MaskedAutoencoder.fit(waves(4), key=KEY, channels=None, widths=(0,))


def test_a_network_of_one_resolution_is_a_network():
    found = eqx.filter_eval_shape(UNet(2, 1, (4,), key=KEY), jnp.ones((5, 3, 2)))
    assert found.shape == (5, 3, 1)


def test_masks_range_from_nothing_to_everything():
    masks = np.asarray(jax.vmap(lambda key: image_mask(key, 12, 9))(jax.random.split(KEY, 500)))
    kept = masks.mean((1, 2))
    assert kept.min() == 0
    assert kept.max() > 0.99
    assert abs(kept.mean() - 0.5) < 6 * 0.35 / 500**0.5
    alone = np.asarray(jax.vmap(lambda key: subset_mask(key, 7))(jax.random.split(KEY, 2000)))
    counts = np.bincount(alone.sum(1), minlength=8)  # uniform from 0 to 7
    assert ((counts - 250) ** 2 / 250).sum() < 60  # chi-square with 7 degrees: beyond it once in 1e10


@pytest.mark.slow
@pytest.mark.parametrize("cls", [MaskedAutoencoder, ImageVAEAC])
def test_it_learns_what_kept_pixels_tell(cls):
    infiller = cls.fit(waves(500, 12, 12), key=KEY, channels=None, n_steps=600, widths=(16, 32))
    fresh = waves(40, 12, 12, seed=1)
    mask = np.ones((12, 12), bool)
    mask[2:9, 3:10] = False
    found = np.stack([np.asarray(draw(infiller, jnp.asarray(x), jnp.asarray(mask)))[0] for x in fresh])
    error = ((found - fresh)[:, ~mask] ** 2).mean()
    assert error < 0.02 * fresh.var()
    if cls is ImageVAEAC:
        nothing = jnp.zeros((12, 12), bool)
        draws = np.asarray(draw(infiller, jnp.asarray(fresh[0]), nothing, 200))
        assert draws.var(0).mean() > 0.1 * fresh.var()  # less than there is: the latent is used too little
