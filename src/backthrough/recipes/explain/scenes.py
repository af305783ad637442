"""Scenes of several digits on a textured background, with the exact mask of each."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from backthrough.core import ArgumentError, DataError, check_choice, check_integer
from backthrough.datasets import Images
from backthrough.recipes.explain.textures import TEXTURES, texture

SIDE, DIGIT = 48, 14  # pixels of a scene, and of a digit once it is halved
FEWEST, MOST = 3, 4  # digits in a scene
N_CLASSES = 10
SPLITS = ("train", "test")
SHEET = 6 * SIDE  # backgrounds are cut from sheets of this size


@dataclass(frozen=True)
class Scenes:
    """Scenes, and what is where in them.

    The first digit of a scene is the one that an explanation is asked of (`target`), the others distract.
    Scenes with three digits have an empty fourth: class -1, an empty mask, a box of NaN.

    Attributes:
        images: Grey, in [-1, 1], with a last axis of one channel.
        present: Whether each class is in the scene.
        classes: Of each digit; -1 for none.
        masks: Exactly the pixels that each digit has changed.
        boxes: x0, y0, x1, y1 of each mask in pixels (x to the right, y down; x1 and y1 are the first
            outside).
        twins: Whether the target is there twice, as the first digit and the second.
    """

    images: Float[np.ndarray, "scene height width 1"]
    present: Bool[np.ndarray, "scene class"]
    classes: Int[np.ndarray, "scene digit"]
    masks: Bool[np.ndarray, "scene digit height width"]
    boxes: Float[np.ndarray, "scene digit side"]
    twins: bool

    def __len__(self) -> int:
        """How many scenes there are."""
        return len(self.images)

    @property
    def target(self) -> Int[np.ndarray, "scene"]:
        """The class that is asked about."""
        return self.classes[:, 0]

    @property
    def target_masks(self) -> Bool[np.ndarray, "scene height width"]:
        """Pixels of the digits of the target class, both where there are twins."""
        return np.any(self.masks & self._is_target[..., None, None], axis=1)

    @property
    def distractor_masks(self) -> Bool[np.ndarray, "scene height width"]:
        """Pixels of all other digits."""
        return np.any(self.masks & ~self._is_target[..., None, None], axis=1)

    @property
    def target_boxes(self) -> Float[np.ndarray, "scene side"]:
        """The box of the first digit."""
        return self.boxes[:, 0]

    @property
    def _is_target(self) -> Bool[np.ndarray, "scene digit"]:
        return np.equal(self.classes, self.classes[:, :1])


def make_scenes(digits: Images, n: int, *, seed: int, split: str, twins: bool = False) -> Scenes:
    """Puts 3 or 4 digits, halved to 14 x 14, at random places of backgrounds of 48 x 48; no two overlap.

    The digits of a scene are of different classes, but for twins. Backgrounds are crops of procedural
    textures (`texture`), made anew for each seed and split. So the masks are exact, and the distractors as
    salient as the target.

    Args:
        digits: The data set `mnist`, or `mnist-small`, which comes with the package.
        n: Scenes.
        seed: Determines everything.
        split: `"train"` or `"test"`: which digits are used.
        twins: Whether the target is there twice.

    Raises:
        ArgumentError: for another split, or fewer than one scene.
        DataError: if the pictures are not 28 x 28, or a class has none.

    Example:
        >>> from backthrough.datasets import load
        >>> scenes = make_scenes(load("mnist-small"), 2, seed=0, split="test")
        >>> scenes.images.shape, scenes.masks.shape
        ((2, 48, 48, 1), (2, 4, 48, 48))
    """
    check_choice("split", split, SPLITS)
    check_integer("n", n, minimum=1)
    check_integer("seed", seed, minimum=0)
    if split == "train":
        pictures, labels = digits.train_images, digits.train_labels
    else:
        pictures, labels = digits.test_images, digits.test_labels
    if pictures.shape[1:] != (2 * DIGIT, 2 * DIGIT):
        raise DataError(f"digits must be 28 x 28 pixels, got {pictures.shape[1:]}")
    of_class = [np.flatnonzero(labels == own) for own in range(N_CLASSES)]
    if not all(map(len, of_class)):
        raise DataError("scenes need digits of all ten classes in each split")
    generator = np.random.default_rng([seed, SPLITS.index(split), int(twins)])
    sheets = [texture(kind, SHEET, generator) for kind in TEXTURES]
    images = np.empty((n, SIDE, SIDE), np.float32)
    classes = np.full((n, MOST), -1)
    masks = np.zeros((n, MOST, SIDE, SIDE), bool)
    for scene in range(n):
        images[scene] = _background(sheets, generator)
        n_digits = int(generator.integers(FEWEST, MOST + 1))
        own = generator.permutation(N_CLASSES)[:n_digits]
        if twins:
            own[1] = own[0]
        classes[scene, :n_digits] = own
        for digit, (y, x) in enumerate(_places(n_digits, generator)):
            ink = halved(pictures[generator.choice(of_class[own[digit]])])
            window = images[scene, y : y + DIGIT, x : x + DIGIT]
            window += ink * (generator.uniform(0.7, 1.0) - window)
            masks[scene, digit, y : y + DIGIT, x : x + DIGIT] = ink > 0
    present = (classes[..., None] == np.arange(N_CLASSES)).any(axis=1)
    return Scenes(images[..., None], present, classes, masks, _boxes(masks), twins)


def halved(picture: UInt8[np.ndarray, "28 28"]) -> Float[np.ndarray, "14 14"]:
    """Means of 2 x 2 pixels, from bytes to [0, 1]."""
    return picture.reshape(DIGIT, 2, DIGIT, 2).astype(np.float32).mean(axis=(1, 3)) / np.float32(255)


def _background(sheets: list[np.ndarray], generator: np.random.Generator) -> Float[np.ndarray, "side side"]:
    """A crop of one of the textures, darker than any digit on average, in [-1, 1]."""
    sheet = sheets[int(generator.integers(len(sheets)))]
    y, x = generator.integers(0, SHEET - SIDE + 1, 2)
    level, contrast = generator.uniform(-0.6, -0.2), generator.uniform(0.1, 0.25)
    return np.clip(level + contrast * sheet[y : y + SIDE, x : x + SIDE], -1, 1)


def _places(n: int, generator: np.random.Generator) -> Int[np.ndarray, "digit 2"]:
    """Upper left corners (row, column) of squares that do not overlap."""
    while True:
        corners = generator.integers(0, SIDE - DIGIT + 1, (n, 2))
        apart = np.abs(corners[:, None] - corners[None]).max(axis=-1)
        if (apart[np.triu_indices(n, 1)] >= DIGIT).all():
            return corners


def _boxes(masks: Bool[np.ndarray, "scene digit height width"]) -> Float[np.ndarray, "scene digit side"]:
    """The tight box of each mask; NaN where it is empty."""
    sides = []
    for axis in (2, 3):  # what is left after `any` over it: columns, then rows
        line = np.any(masks, axis=axis)
        length = line.shape[-1]
        sides.append((line.argmax(axis=-1), length - line[..., ::-1].argmax(axis=-1)))
    (x0, x1), (y0, y1) = sides
    boxes = np.stack([x0, y0, x1, y1], axis=-1).astype(float)
    return np.where(np.any(masks, axis=(2, 3))[..., None], boxes, np.nan)


def joined(first: Scenes, second: Scenes) -> Scenes:
    """Both after one another; twins where all of them are.

    Raises:
        ArgumentError: if their pictures differ in size.
    """
    if first.images.shape[1:] != second.images.shape[1:]:
        raise ArgumentError(
            f"scenes of {first.images.shape[1:]} and of {second.images.shape[1:]} cannot be joined"
        )
    names = ("images", "present", "classes", "masks", "boxes")
    both = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    return Scenes(**both, twins=first.twins and second.twins)
