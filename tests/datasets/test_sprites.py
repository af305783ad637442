import hashlib

import jaxtyping
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import Dataset, load, read_sprites, render_sprites, sprites
from backthrough.datasets.sprite_drawing import EDGES

SQUARE, ELLIPSE, HEART = range(3)
REPLICA = "dsprites/dsprites_replica_packed.npz"
REPLICA_SHA256 = "211bdbb1d5316a6766adc2627a2c1903dfc58d85c2bca1ab9db34927ea57e9dc"  # of the packed bits
WHOLE_PIXELS = (3, 6, 5, 33, 33)  # a step of place is one pixel, a step of orientation a quarter turn


def draw(*classes, **options):
    return render_sprites(np.array([classes]), **options)[0]


def at_random(n, sizes=(3, 6, 40, 32, 32)):
    return np.random.default_rng(0).integers(0, sizes, size=(n, 5))


# against pictures that others have drawn


def test_sample_is_the_replica_bit_for_bit(full_data):
    random = np.random.default_rng(0)
    kept = (3, 4, 6, 7, 7)
    classes = {
        name: random.choice(n, k, replace=False)
        for name, n, k in zip(
            ("shape", "scale", "orientation", "posX", "posY"), (3, 6, 40, 32, 32), kept, strict=True
        )
    }
    replica, drawn = read_sprites(full_data / REPLICA, classes=classes), sprites(classes=classes)
    assert replica.images.shape == (3528, 64, 64)
    np.testing.assert_array_equal(replica.images, drawn.images)
    np.testing.assert_array_equal(replica.classes, drawn.classes)
    assert replica.factor_sizes == drawn.factor_sizes == (3, 6, 40, 32, 32)
    assert replica.licence == drawn.licence


@pytest.mark.slow
def test_whole_grid_is_the_replica_bit_for_bit():
    digest = hashlib.sha256()
    for shape in range(3):
        for scale in range(6):
            part = sprites(classes={"shape": [shape], "scale": [scale]})
            digest.update(np.packbits(part.images, axis=-1))
    assert digest.hexdigest() == REPLICA_SHA256


def test_real_pictures_differ_in_as_few_pixels_as_is_said(full_data):
    real = load("dsprites-frames")
    wrong = (render_sprites(real["labelled_classes"]) != real["labelled_imgs"]).sum(axis=(1, 2))
    assert wrong.sum() == 2
    assert (wrong == 0).sum() == 10
    wrong = (render_sprites(real["gif_classes_inferred"]) != real["gif_imgs"]).sum(axis=(1, 2))
    np.testing.assert_array_equal(wrong, real["gif_fit_mismatch_px"])
    assert (wrong == 0).sum() == 288


# against what must hold of any such pictures


def test_first_and_last_orientation_are_the_same():
    classes = at_random(50)
    first, last = classes.copy(), classes.copy()
    first[:, 2], last[:, 2] = 0, 39
    np.testing.assert_array_equal(render_sprites(first), render_sprites(last))


def test_shapes_have_their_symmetries():
    turns = {
        shape: [draw(shape, 4, quarter, 16, 16, sizes=WHOLE_PIXELS) for quarter in range(5)]
        for shape in range(3)
    }
    for pictures in turns.values():
        upright = pictures[0]
        np.testing.assert_array_equal(upright, upright[:, ::-1])
        for quarter, picture in enumerate(pictures):
            np.testing.assert_array_equal(picture, np.rot90(upright, quarter))
    np.testing.assert_array_equal(turns[SQUARE][0], turns[SQUARE][1])
    np.testing.assert_array_equal(turns[ELLIPSE][0], turns[ELLIPSE][2])
    assert (turns[ELLIPSE][0] != turns[ELLIPSE][1]).any()
    heart = turns[HEART][0]
    assert heart[:32].sum() > heart[32:].sum()  # its tip is below
    assert (heart != heart[::-1]).any()


def test_whole_pixels_shift_the_picture():
    classes = at_random(50, (3, 6, 5, 29, 29))
    moved = classes + np.array([0, 0, 0, 3, 2])
    before, after = (render_sprites(rows, sizes=WHOLE_PIXELS) for rows in (classes, moved))
    np.testing.assert_array_equal(np.roll(before, (2, 3), axis=(1, 2)), after)


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize("scale", [0, 2, 5])
def test_area_grows_with_the_square_of_the_scale(shape, scale):
    """The 31 x 31 places differ by 1/31 of a pixel, so together they count the points of a lattice that fine.

    Each point is the middle of a cell of side 1/31. Only cells that the outline crosses count wrongly, by
    half their area at worst where it is straight, and they lie within their diagonal of it, on either side.
    """
    upper, lower = EDGES[shape]
    u, v = np.vstack([upper, lower[::-1]]).T
    half_area = np.sum(u[:-1] * v[1:] - u[1:] * v[:-1]) / 2
    outline = 2 * np.hypot(np.diff(u), np.diff(v)).sum()
    relative = 0.5 + 0.1 * scale
    place = range(31)
    some = {"shape": [shape], "scale": [scale], "orientation": [7], "posX": place, "posY": place}
    counted = sprites(classes=some).images.sum() / 31**2
    expected = 2 * half_area * relative**2
    assert abs(counted - expected) < outline * relative * np.sqrt(2) / 31
    if shape == SQUARE:
        assert expected == pytest.approx(19.2**2 * relative**2)
    if shape == ELLIPSE:
        assert expected == pytest.approx(np.pi * 12.78 * 7.22 * relative**2, rel=0.002)


def test_finer_pictures_hold_the_coarser_ones():
    classes = at_random(60)
    fine = render_sprites(classes, size=192)
    np.testing.assert_array_equal(fine[:, 1::3, 1::3], render_sprites(classes))


def test_order_of_classes_is_kept():
    classes = at_random(200)
    together = render_sprites(classes)
    alone = np.concatenate([render_sprites(classes[i : i + 1]) for i in range(0, 200, 10)])
    np.testing.assert_array_equal(together[::10], alone)
    np.testing.assert_array_equal(render_sprites(classes.astype(np.uint8)), together)
    assert set(np.unique(together)) == {0, 1}
    assert render_sprites(classes[:0]).shape == (0, 64, 64)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_tiny_pictures_can_be_drawn(size):
    assert render_sprites(at_random(20), size=size).shape == (20, size, size)


# grids


def test_grid_is_row_major_and_keeps_class_numbers():
    data = sprites(
        classes={"scale": [5, 0], "shape": (1,), "posY": np.array([3, 4, 3])}, size=8, sizes=(3, 6, 2, 3, 9)
    )
    assert isinstance(data, Dataset)
    assert data.images.shape == (2 * 2 * 3 * 2, 8, 8)
    expected = np.stack(np.meshgrid([1], [0, 5], [0, 1], [0, 1, 2], [3, 4], indexing="ij"), -1).reshape(-1, 5)
    np.testing.assert_array_equal(data.classes, expected)
    assert data.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    assert data.factor_sizes == (3, 6, 2, 3, 9)
    assert "dSprites replica" in data.source
    assert not data.images.flags.writeable
    assert not data.classes.flags.writeable


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"colour": [0]}, r"unknown factor in classes 'colour'.*known: shape, scale"),
        ({"scale": [6]}, r"classes\['scale'\] must lie in 0 to 5, got 6"),
        ({"scale": [-1]}, r"classes\['scale'\] must be at least 0, got -1"),
        ({"scale": [True]}, r"classes\['scale'\] must be a whole number, got True"),
        ({"scale": 3}, r"classes\['scale'\] must be a list of class numbers, got 3"),
        ({"shape": "heart"}, r"classes\['shape'\] must be a list of class numbers, got 'heart'"),
        ({"scale": []}, r"classes\['scale'\] keeps nothing; leave it out to keep all 6"),
    ],
)
def test_wrong_classes_to_keep_are_refused(classes, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    with pytest.raises(ArgumentError, match=message):
        sprites(classes=classes)


def test_wrong_arguments_are_refused():
    good = at_random(3)
    with pytest.raises(ArgumentError, match="size must be at least 1, got 0"):
        render_sprites(good, size=0)
    with pytest.raises(ArgumentError, match=r"sizes must be five numbers \(shape, .*got \(3, 6\)"):
        render_sprites(good, sizes=(3, 6))
    with pytest.raises(ArgumentError, match=r"sizes \(shape\) must be 3, got 2; choose among the shapes"):
        sprites(sizes=(2, 6, 40, 32, 32))
    with pytest.raises(ArgumentError, match=r"sizes \(posX\) must be at least 1, got 0"):
        sprites(sizes=(3, 6, 40, 0, 32))
    good[2, 3] = 32
    with pytest.raises(ArgumentError, match="classes: posX of row 2 must lie in 0 to 31, got 32"):
        render_sprites(good)
    good[2, 3] = -1
    with pytest.raises(ArgumentError, match="classes: posX of row 2 must lie in 0 to 31, got -1"):
        render_sprites(good)


# files


@pytest.fixture
def original(tmp_path):
    """What a file of dSprites holds, few pictures of it; `metadata` is a pickle there."""
    classes = at_random(30)
    colour = np.zeros((30, 1), np.int64)
    return {
        "metadata": np.array({"title": "dSprites"}, dtype=object),
        "imgs": render_sprites(classes),
        "latents_classes": np.hstack([colour, classes]),
        "latents_values": np.zeros((30, 6)),
    }


def save(folder, arrays):
    np.savez(folder / "d.npz", **arrays)
    return folder / "d.npz"


def test_original_is_read_without_its_pickle(tmp_path, original):
    data = read_sprites(str(save(tmp_path, original)))
    np.testing.assert_array_equal(data.images, original["imgs"])
    np.testing.assert_array_equal(data.classes, original["latents_classes"][:, 1:])
    assert data.factor_sizes == (3, 6, 40, 32, 32)
    assert data.source.endswith("d.npz")
    assert "Apache" in data.licence
    assert not data.images.flags.writeable
    assert not data.classes.flags.writeable


def test_classes_are_kept_in_the_order_of_the_file(tmp_path, original):
    data = read_sprites(save(tmp_path, original), classes={"shape": [2], "orientation": range(20)})
    classes = original["latents_classes"][:, 1:]
    expected = (classes[:, 0] == 2) & (classes[:, 2] < 20)
    assert 0 < expected.sum() < 30
    np.testing.assert_array_equal(data.classes, classes[expected])
    np.testing.assert_array_equal(data.images, original["imgs"][expected])
    original["latents_classes"][:, 1] = 0
    with pytest.raises(DataError, match=r"d\.npz has no picture of the classes to keep, \{'shape': \[1\]\}"):
        read_sprites(save(tmp_path, original), classes={"shape": [1]})


def test_packed_grid_is_read(tmp_path):
    grid = sprites(size=16, sizes=(3, 2, 2, 3, 2))
    packed = np.packbits(grid.images.reshape(*grid.factor_sizes, 16, 16), axis=-1)
    path = save(tmp_path, {"imgs_packed": packed, "factor_names": np.array(grid.factor_names)})
    data = read_sprites(path)
    np.testing.assert_array_equal(data.images, grid.images)
    np.testing.assert_array_equal(data.classes, grid.classes)
    assert data.factor_sizes == grid.factor_sizes
    some = {"shape": [0, 2], "posX": [1]}
    np.testing.assert_array_equal(
        read_sprites(path, classes=some).images,
        sprites(classes=some, size=16, sizes=grid.factor_sizes).images,
    )


def test_values_that_cannot_be_are_named(tmp_path, original):
    images, classes = original["imgs"], original["latents_classes"]
    with pytest.raises(DataError, match=r"d\.npz has 30 imgs, but 29 rows of latents_classes"):
        read_sprites(save(tmp_path, original | {"latents_classes": classes[1:]}))
    for column, name, last in ((0, "colour", 0), (1, "shape", 2), (5, "posY", 31)):
        wrong = classes.copy()
        wrong[4, column] = last + 1
        with pytest.raises(
            DataError, match=rf"d\.npz, latents_classes: {name} of row 4 must .*, got {last + 1}"
        ):
            read_sprites(save(tmp_path, original | {"latents_classes": wrong}))
    wrong = images.copy()
    wrong[7] *= 255
    with pytest.raises(DataError, match=r"imgs: pixels must be 0 or 1, but picture 7 has 255"):
        read_sprites(save(tmp_path, original | {"imgs": wrong}))


@pytest.mark.parametrize(
    "changed",
    [
        {"imgs": np.zeros((30, 64, 64))},
        {"imgs": np.zeros((30, 64, 32), np.uint8)},
        {"latents_classes": np.zeros((30, 5), np.int64)},
        {"latents_classes": np.zeros((30, 6))},
        {"imgs_packed": np.zeros((3, 1, 1, 1, 1, 8, 2), np.uint8), "imgs": np.zeros(1)},
    ],
)
def test_other_arrays_are_listed_with_what_is_expected(tmp_path, original, changed):
    name, array = next(iter(changed.items()))
    path = save(tmp_path, original | changed)
    with pytest.raises(
        DataError, match=r"d\.npz is not a file of sprites: expected imgs .* or imgs_packed"
    ) as error:
        read_sprites(path)
    assert f"{name} ({array.dtype}, {array.shape})" in str(error.value)
    assert "metadata (object, ())" in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path, original):
    with pytest.raises(DataError, match=r"cannot read .*none\.npz: No such file"):
        read_sprites(tmp_path / "none.npz")
    path = save(tmp_path, original)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"d\.npz is damaged or cut off"):
        read_sprites(path)
    (tmp_path / "t.npz").write_text("text")
    with pytest.raises(DataError, match=r"t\.npz is damaged or cut off"):
        read_sprites(tmp_path / "t.npz")
