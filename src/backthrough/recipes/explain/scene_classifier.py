"""A small convolutional network that says which digits are in a scene."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from backthrough.core import PRNGKey, PyTree, Scalar, check_integer, log_mean_exp
from backthrough.nets import Convolution
from backthrough.recipes.explain.scenes import N_CLASSES, SIDE, Scenes
from backthrough.train import Batches, fit, mean_over_shards, schedule

WIDTHS = (24, 48, 64)
RATE, SHARPNESS = 3e-3, 4.0
CROP = 24  # pixels around a digit
CROP_BATCH, BATCH = 128, 32
N_STEPS = 1100
CROPS_FIRST = 4  # a step on single digits for so many on scenes


class SceneClassifier(eqx.Module):
    """Maps a scene to ten logits, one for the presence of each digit; pass it as `outputs="sigmoid"`.

    Four convolutions see 25 x 25 pixels around each of 12 x 12 places; a last one gives each place its ten
    logits, and log-mean-exp, a smooth maximum, makes one of the places.

    Attributes:
        layers: The convolutions, with a ReLU after each but the last.
    """

    layers: tuple[Convolution, ...]

    def __init__(self, *, key: PRNGKey):
        first, second, third = WIDTHS
        keys = jax.random.split(key, 5)
        layers = (
            Convolution(1, first, 5, stride=2, padding=2, key=keys[0]),
            Convolution(first, second, 3, stride=2, padding=1, key=keys[1]),
            Convolution(second, third, 3, padding=1, key=keys[2]),
            Convolution(third, third, 3, padding=1, key=keys[3]),
            Convolution(third, N_CLASSES, 1, key=keys[4]),
        )
        self.layers = tuple(map(keeping_variance, layers))

    def __call__(self, x: Float[Array, "height width 1"]) -> Float[Array, "class"]:
        """The logits of one scene."""
        return log_mean_exp(SHARPNESS * self.places(x), axis=(0, 1)) / SHARPNESS

    def places(self, x: Float[Array, "height width 1"]) -> Float[Array, "down across class"]:
        """The logits of each place, 4 pixels apart."""
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)

    def centre(self, x: Float[Array, "height width 1"]) -> Float[Array, "class"]:
        """The mean logits of the four places in the middle."""
        places = self.places(x)
        row, column = places.shape[0] // 2, places.shape[1] // 2
        return places[row - 1 : row + 1, column - 1 : column + 1].mean(axis=(0, 1))


def keeping_variance(layer: Convolution) -> Convolution:
    """The layer with weights as large as He et al. 2015 have them for ReLUs, and biases 0.

    With those it starts from, five layers make the signal some eighty times smaller, and nothing is learned.
    """
    return eqx.tree_at(
        lambda own: (own.weight, own.bias), layer, (6**0.5 * layer.weight, jnp.zeros_like(layer.bias))
    )


class State(NamedTuple):
    """What training carries."""

    model: SceneClassifier
    optimiser: optax.OptState


def train_scene_classifier(scenes: Scenes, *, key: PRNGKey, n_steps: int = N_STEPS) -> SceneClassifier:
    """Minimises the mean of the ten binary cross-entropies: first on digits one by one, then on scenes.

    From scenes alone the network learns nothing for its first 300 steps, since a digit's gradient reaches all
    places alike. What is in the centre of a window of 24 x 24 around a digit is learned within a hundred.

    Args:
        scenes: Of the training part; 8,000 suffice.
        key: Typed key.
        n_steps: Steps on 32 scenes each, or as many as there are; a quarter as many on 128 digits come first.

    Raises:
        ArgumentError: if there is no step.
    """
    check_integer("n_steps", n_steps, minimum=1)
    model_key, crop_key, scene_key = jax.random.split(key, 3)
    model = SceneClassifier(key=model_key)
    centre = SceneClassifier.centre
    n_first = -(-n_steps // CROPS_FIRST)
    model = learned(centre, model, crops(scenes), CROP_BATCH, n_first, label="single digits", key=crop_key)
    rows = {"image": scenes.images, "present": scenes.present.astype(np.float32)}
    whole = SceneClassifier.__call__
    return learned(whole, model, rows, BATCH, n_steps, label="scenes", key=scene_key)


def crops(scenes: Scenes) -> dict[str, np.ndarray]:
    """A window around each digit of the scenes, moved inwards at an edge, and its class as ten numbers."""
    scene, digit = np.nonzero(scenes.classes >= 0)
    boxes = scenes.boxes[scene, digit]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    x, y = np.clip((centres - CROP / 2).round(), 0, SIDE - CROP).astype(int).T
    windows = np.lib.stride_tricks.sliding_window_view(scenes.images[..., 0], (CROP, CROP), axis=(1, 2))
    classes = scenes.classes[scene, digit]
    return {
        "image": windows[scene, y, x][..., None],
        "present": (classes[:, None] == np.arange(N_CLASSES)).astype(np.float32),
    }


def learned(
    logits_of: Callable[[SceneClassifier, Array], Array],
    model: SceneClassifier,
    rows: dict[str, np.ndarray],
    size: int,
    n_steps: int,
    *,
    label: str,
    key: PRNGKey,
) -> SceneClassifier:
    """The network after `n_steps` steps of Adam on some logits of it, with `size` of the rows each."""
    optimiser = optax.adam(schedule("cosine", RATE, n_steps=n_steps, warm_up=n_steps // 20))

    def loss(model: SceneClassifier, batch: PyTree) -> Scalar:
        logits = jax.vmap(lambda image: logits_of(model, image))(batch["image"])
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, batch["present"]))

    def step(state: State, batch: PyTree, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        value, gradients = eqx.filter_value_and_grad(loss)(state.model, batch)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        return State(eqx.apply_updates(state.model, updates), memory), {"cross-entropy (nats)": value}

    state = State(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)))
    batches = Batches(rows, min(size, len(rows["image"])), seed=0)
    return fit(step, state, batches, n_steps=n_steps, key=key, label=label).state.model


def presence_logits(model: SceneClassifier, scenes: Scenes) -> Float[np.ndarray, "scene class"]:
    """The logits of many scenes."""
    return np.asarray(eqx.filter_jit(eqx.filter_vmap(model))(jnp.asarray(scenes.images)))


def is_told(model: SceneClassifier, scenes: Scenes) -> Bool[np.ndarray, "scene"]:
    """Whether all ten answers about a scene are right."""
    return ((presence_logits(model, scenes) > 0) == scenes.present).all(axis=1)
