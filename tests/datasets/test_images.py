import numpy as np
import pytest
from PIL import Image

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import read_images


def save(path, *, mode="L", size=(8, 6), value=7, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


def test_grey_pictures_in_name_order(tmp_path):
    for name, value in (("b.png", 2), ("a.png", 1), ("c.jpg", 3)):
        save(tmp_path / name, value=value)
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "Thumbs.db").write_text("x")
    data = read_images(tmp_path)
    assert data.images.shape == (3, 6, 8)
    assert data.images.dtype == np.uint8
    assert data.images[:, 0, 0].tolist() == [1, 2, 3]
    assert data.files == ("a.png", "b.png", "c.jpg")
    assert data.labels is None
    assert data.class_names == ()


def test_class_folders_give_labels(tmp_path):
    save(tmp_path / "dog" / "1.png", mode="RGB", value=(1, 2, 3))
    save(tmp_path / "cat" / "1.png", mode="RGB", value=(4, 5, 6))
    save(tmp_path / "cat" / "2.png", mode="P", value=0)
    data = read_images(tmp_path)
    assert data.images.shape == (3, 6, 8, 3)
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.files == ("cat/1.png", "cat/2.png", "dog/1.png")
    assert data.images[2, 0, 0].tolist() == [1, 2, 3]


def test_size_makes_all_equal(tmp_path):
    save(tmp_path / "a.png", size=(8, 6))
    save(tmp_path / "b.png", size=(30, 20))
    assert read_images(tmp_path, size=(4, 5)).images.shape == (2, 4, 5)
    for size in ((4,), (4, 5, 6), (0, 5)):
        with pytest.raises(ArgumentError, match="size must be"):
            read_images(tmp_path, size=size)


def test_exif_orientation_is_followed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    save(tmp_path / "a.jpg", size=(8, 6), exif=exif)
    assert read_images(tmp_path).images.shape == (1, 8, 6)


def test_other_size_or_kind_is_named(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", size=(9, 6))
    with pytest.raises(DataError, match=r"b\.png is 6 x 9 grey, but .*a\.png is 6 x 8 grey"):
        read_images(tmp_path)
    save(tmp_path / "b.png", mode="RGB", value=(1, 2, 3))
    with pytest.raises(DataError, match=r"b\.png is 6 x 8 colour, but .*a\.png is 6 x 8 grey"):
        read_images(tmp_path)


def test_nothing_is_dropped_silently(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes\.txt is not an image file"):
        read_images(tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "more").mkdir()
    with pytest.raises(DataError, match=r"holds class folders \(more, \.\.\.\) and also the file a\.png"):
        read_images(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"class folder .*more holds no pictures"):
        read_images(tmp_path)
    (tmp_path / "more" / "deep").mkdir()
    with pytest.raises(DataError, match=r"class folder .*more holds a folder: deep"):
        read_images(tmp_path)


def test_unreadable_pictures_are_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        read_images(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("mode", "value", "message"),
    [
        ("I;16", 300, r"a\.png has pixels of mode I;16; only 8-bit"),
        ("RGBA", (1, 2, 3, 100), r"a\.png has transparent pixels"),
    ],
)
def test_pictures_that_would_lose_something_are_refused(tmp_path, mode, value, message):
    save(tmp_path / "a.png", mode=mode, value=value)
    with pytest.raises(DataError, match=message):
        read_images(tmp_path)


def test_opaque_alpha_is_no_loss_and_bits_become_grey(tmp_path):
    save(tmp_path / "a.png", mode="RGBA", value=(1, 2, 3, 255))
    assert read_images(tmp_path).images[0, 0, 0].tolist() == [1, 2, 3]
    save(tmp_path / "a.png", mode="1", value=1)
    assert read_images(tmp_path).images[0, 0, 0] == 255


def test_several_frames_are_refused(tmp_path):
    frames = [Image.new("L", (8, 6), value) for value in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.gif holds several frames"):
        read_images(tmp_path)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        read_images(tmp_path)
    with pytest.raises(DataError, match=r"cannot read folder .*none: No such file"):
        read_images(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot read folder .*file: Not a directory"):
        read_images(tmp_path / "file")
