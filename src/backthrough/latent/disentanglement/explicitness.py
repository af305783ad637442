"""How well a linear classifier of all latents tells each class (Ridgeway and Mozer 2018, section 3)."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from backthrough.core import seed_of
from backthrough.latent.disentanglement.arrays import check_arrays, standardised, stratified_split


class Explicitness(NamedTuple):
    """Areas under ROC curves, 1/2 by chance and 1 at best; not rescaled.

    Attributes:
        per_factor: Mean over the classes of each factor, of held-out rows.
        mean: Over the factors.
        train_per_factor: Of the rows that were learnt from.
    """

    per_factor: Float[np.ndarray, "factor"]
    mean: float
    train_per_factor: Float[np.ndarray, "factor"]


def explicitness(
    means: Float[np.ndarray, "n latent"],
    labels: Integer[np.ndarray, "n factor"],
    *,
    random_state: Any = 0,
    train_fraction: float = 0.8,
) -> Explicitness:
    """The mean area under the ROC curve of each class against the rest, by a multinomial logistic regression.

    The area itself, as disentanglement_lib reports it. Some rescale it to (area - 1/2) / (1/2), which is 0 by
    chance: that is `2 * mean - 1` of this.

    Args:
        means: Of the encoder; their scales do not matter.
        labels: Class indices, a column a factor; two rows at least of each class.
        random_state: Of the split.
        train_fraction: Of the rows of each class, to learn from.

    Raises:
        ArgumentError: for a wrong argument.
        DataError: if a mean is not finite, or a factor has one value or a class of one row.

    Example:
        >>> labels = np.indices((2, 2, 10)).reshape(3, -1).T[:, :2]
        >>> explicitness(labels.astype(float), labels).per_factor
        array([1., 1.])
    """
    means, labels = check_arrays(means, labels)
    rng = np.random.default_rng(seed_of(random_state))
    codes = standardised(means)
    train, test = np.empty(labels.shape[1]), np.empty(labels.shape[1])
    for k, factor in enumerate(labels.T):
        is_train = stratified_split(factor, factor=k, train_fraction=train_fraction, rng=rng)
        model = LogisticRegression(max_iter=10_000).fit(codes[is_train], factor[is_train])
        is_class = factor[:, None] == model.classes_
        for areas, rows in ((train, is_train), (test, ~is_train)):
            areas[k] = _areas(model.predict_proba(codes[rows]), is_class[rows]).mean()
    return Explicitness(test, float(test.mean()), train)


def _areas(
    scores: Float[np.ndarray, "n class"], is_class: Bool[np.ndarray, "n class"]
) -> Float[np.ndarray, "class"]:
    """How often a row of the class scores higher than another row does, ties counted half."""
    n_in = is_class.sum(0)
    ranks = np.where(is_class, rankdata(scores, axis=0), 0).sum(0)
    return (ranks - n_in * (n_in + 1) / 2) / (n_in * (len(scores) - n_in))
