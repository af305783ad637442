"""How near held-out features are to what an infiller draws for them, beside the mean of the examples."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.figure import Figure

from backthrough.core import PRNGKey
from backthrough.explain.infill.fitted import training_examples
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.infill.masks import image_mask, subset_mask
from backthrough.explain.infill.simple import Mean
from backthrough.train import Headline, Number, mean_number

N_DRAWS = 16
CHUNK = 64
MOST = 512  # examples that are measured
SHOWN_IMAGES, SHOWN_CELLS = 8, 400
ERROR, MEAN_ERROR = "squared error", "squared error (mean)"


@dataclass(frozen=True)
class Evaluation:
    """Held-out examples with random holes.

    Attributes:
        truth: The examples.
        kept: True where a feature was shown.
        draws: What was drawn.
        mean: What the mean fills in.
        std: Of each feature of a row, or of all features of an image together, in training.
    """

    truth: Float[np.ndarray, "example ..."]
    kept: Bool[np.ndarray, "example ..."]
    draws: Float[np.ndarray, "example draw ..."]
    mean: Float[np.ndarray, "..."]
    std: Float[np.ndarray, "..."]

    def numbers(self) -> list[Number]:
        """Mean squares over hidden features, in units of their variance in training."""
        what = "of hidden features, the mean of {} draws against the truth; 1 is their variance in training"
        return [
            mean_number(ERROR, self._errors(self.draws.mean(1)), "", what.format(self.draws.shape[1])),
            mean_number(
                MEAN_ERROR, self._errors(self.mean), "", "the same, of the mean of the training examples"
            ),
        ]

    def headline(self, method: str, picture: str) -> Headline:
        """What hidden features are off by, and what the mean is off by."""
        own, plain = self._errors(self.draws.mean(1)), self._errors(self.mean)
        gain = plain - own
        error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else np.inf
        if gain.mean() > 2 * error:
            verdict = f"{1 - own.mean() / plain.mean():.0%} less than when their mean is filled in"
        elif gain.mean() < -2 * error:
            verdict = f"more than when their mean is filled in ({plain.mean():.3g}): use the mean"
        else:
            verdict = f"no clear difference from filling in their mean ({plain.mean():.3g})"
        sentence = (
            f"Hidden features of {len(own)} held-out examples are off by {own.mean():.3g} of their variance "
            f"with {method}, {verdict}."
        )
        return Headline(sentence, ERROR, picture)

    def plot(self) -> Figure:
        """Images with holes and filled in, or drawn cells of a table against the truth."""
        return self._plot_images() if self.truth.ndim > 2 else self._plot_cells()

    def caption(self) -> str:
        """What the plot shows."""
        if self.truth.ndim > 2:
            return "Held-out images, what of them was shown, and two draws of the whole."
        return (
            "Hidden cells of held-out rows in standard deviations of their column: the truth against the "
            f"mean of {self.draws.shape[1]} draws, with the span of the middle 80 % of them."
        )

    def _errors(self, filled: np.ndarray) -> Float[np.ndarray, "example"]:
        """One mean square for each example."""
        hidden = ~self.kept
        squares = np.where(hidden, ((filled - self.truth) / self.std) ** 2, 0)
        axes = tuple(range(1, squares.ndim))
        return squares.sum(axes) / hidden.sum(axes)

    def _plot_images(self) -> Figure:
        n = min(SHOWN_IMAGES, len(self.truth))
        low, high = self.truth.min(), self.truth.max()
        figure = Figure(figsize=(n, 4.2), layout="constrained")
        holes = np.where(self.kept, self.truth, (low + high) / 2)
        rows = {
            "whole": self.truth,
            "shown": holes,
            "draw 1": self.draws[:, 0],
            "draw 2": self.draws[:, 1],
        }
        for (name, images), axes in zip(
            rows.items(), figure.subplots(len(rows), n, squeeze=False), strict=True
        ):
            for image, place in zip(images, axes, strict=False):
                shown = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
                place.imshow(shown.squeeze(), cmap="gray", vmin=0, vmax=1)
                place.set(xticks=[], yticks=[])
            axes[0].set_ylabel(name)
        return figure

    def _plot_cells(self) -> Figure:
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        place = figure.subplots()
        rows, columns = np.nonzero(~self.kept)
        chosen = np.arange(len(rows))[:: max(1, -(-len(rows) // SHOWN_CELLS))]
        rows, columns = rows[chosen], columns[chosen]
        draws = (self.draws[rows, :, columns] - self.mean[columns, None]) / self.std[columns, None]
        truth = (self.truth[rows, columns] - self.mean[columns]) / self.std[columns]
        middle = draws.mean(1)
        low, high = np.quantile(draws, [0.1, 0.9], axis=1)
        bars = np.stack([middle - low, high - middle]).clip(min=0)
        place.errorbar(middle, truth, xerr=bars, fmt=".", markersize=4, elinewidth=0.6, alpha=0.5)
        ends = [truth.min(initial=0), truth.max(initial=0)]
        place.plot(ends, ends, color="0.5", linewidth=1)
        place.set(xlabel="drawn (standard deviations)", ylabel="truth")
        return figure


def evaluate_infiller(
    infiller: Infiller, X: Any, X_test: Any, *, key: PRNGKey, one_hot: tuple[tuple[int, ...], ...] = ()
) -> Evaluation:
    """Fills in held-out examples under random masks.

    Of a row each cell is kept with a probability that is uniform in [0, 1], columns of one category together;
    masks of images are those that a `MaskedAutoencoder` learns from. Something is always hidden.

    Args:
        infiller: Fitted to `X`.
        X: The examples that it was fitted to: rows, or images (height, width) with or without channels last.
        X_test: Others; no more than 512 of them are used.
        key: Determines masks and draws.
        one_hot: Columns that are one category.
    """
    train, test = (training_examples(part, axes=(2, 3, 4)) for part in (X, X_test))
    test = test[:MOST].astype(np.float32)
    mask_key, sample_key = jax.random.split(key)
    kept = _masks(mask_key, test.shape, one_hot)
    draws = _draws(infiller, test, kept, sample_key)
    spread = train.std(0) if train.ndim == 2 else np.broadcast_to(train.std(), train.shape[1:])
    mean = np.asarray(Mean.fit(train).mean)
    return Evaluation(test, kept, draws, mean, np.where(spread > 0, spread, 1.0))


def _masks(
    key: PRNGKey, shape: tuple[int, ...], one_hot: tuple[tuple[int, ...], ...]
) -> Bool[np.ndarray, "example ..."]:
    """Random ones; where one would keep everything, nothing is kept."""
    keys = jax.random.split(key, shape[0])
    if len(shape) == 2:
        masks = np.array(jax.vmap(lambda key: subset_mask(key, shape[1]))(keys))
        for group in one_hot:
            masks[:, list(group)] = masks[:, group[:1]]
    else:
        masks = np.array(jax.vmap(lambda key: image_mask(key, *shape[1:3]))(keys))
        masks = masks if len(shape) == 3 else masks[..., None].repeat(shape[3], axis=3)
    masks[masks.reshape(len(masks), -1).all(1)] = False
    return masks


def _draws(
    infiller: Infiller, test: np.ndarray, kept: np.ndarray, key: PRNGKey
) -> Float[np.ndarray, "example draw ..."]:
    """In parts, so that memory does not grow with the examples."""

    @eqx.filter_jit
    def some(infiller: Infiller, x: Array, mask: Array, keys: Array) -> Array:
        return jax.vmap(lambda x, mask, key: infiller.sample(x, mask, key=key, n_samples=N_DRAWS))(
            x, mask, keys
        )

    keys = jax.random.split(key, len(test))
    parts = [slice(start, start + CHUNK) for start in range(0, len(test), CHUNK)]
    made = [some(infiller, jnp.asarray(test[own]), jnp.asarray(kept[own]), keys[own]) for own in parts]
    return np.concatenate([np.asarray(part) for part in made])
