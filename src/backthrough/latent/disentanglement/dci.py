"""Disentanglement, completeness and informativeness (Eastwood and Williams 2018)."""

from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy.special import entr
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold

from backthrough.core import ArgumentError, DataError, check_choice, seed_of
from backthrough.latent.disentanglement.arrays import (
    FactorScores,
    LatentScores,
    check_arrays,
    standardised,
    stratified_split,
)

N_TREES, DEPTH, LARGEST_LEAF = 50, 10, 10  # deeper trees learn noise, so every latent would seem of use
PENALTIES = np.geomspace(1e-4, 1, 25)  # of standardised factors: at 1 all coefficients are zero


class DCI(NamedTuple):
    """How latents and factors belong together.

    Attributes:
        importance: Of each latent for predicting each factor.
        disentanglement: Mean over the latents, weighted by their shares of all importance.
        disentanglement_per_latent: 1 where a latent matters for one factor, 0 where it does for all alike.
        completeness: Mean over the factors, weighted by their shares of all importance.
        completeness_per_factor: 1 where one latent matters for a factor, 0 where all do alike.
        informativeness: Mean over the factors.
        informativeness_per_factor: Share of held-out rows whose class is predicted.
        train_per_factor: The same share of the rows that were learnt from.
    """

    importance: Float[np.ndarray, "latent factor"]
    disentanglement: float
    disentanglement_per_latent: Float[np.ndarray, "latent"]
    completeness: float
    completeness_per_factor: Float[np.ndarray, "factor"]
    informativeness: float
    informativeness_per_factor: Float[np.ndarray, "factor"]
    train_per_factor: Float[np.ndarray, "factor"]


def dci(
    means: Float[np.ndarray, "n latent"],
    labels: Integer[np.ndarray, "n factor"],
    *,
    regressor: Literal["forest", "boosting", "lasso"] = "forest",
    random_state: Any = 0,
    train_fraction: float = 0.8,
) -> DCI:
    """Predicts each factor from all latents and looks at which latents the prediction uses.

    The numbers depend on what predicts, so compare only those of the same `regressor` and number of rows:

    - `"forest"`, 50 extremely randomised trees of limited depth, takes seconds where boosting takes minutes.
    - `"boosting"`, scikit-learn's gradient boosting as it stands, is what disentanglement_lib uses.
    - `"lasso"`, as Eastwood and Williams, takes class indices for numbers: for factors whose classes are
      ordered and evenly spaced. Its penalty is cross-validated, and its prediction is the nearest class.

    Read disentanglement and completeness beside informativeness. Where a factor cannot be predicted, trees
    learn noise, so its importance is spread over all latents, and the lasso may keep one tiny coefficient,
    which alone looks complete.

    Args:
        means: Of the encoder, two latents at least; their scales do not matter.
        labels: Class indices, a column a factor; two factors at least, and two rows at least of each class.
        regressor: What predicts.
        random_state: Of the split and the trees.
        train_fraction: Of the rows of each class, to learn from.

    Raises:
        ArgumentError: for a wrong argument, one latent, or one factor.
        DataError: if a mean is not finite, or a factor has one value or a class of one row.

    Example:
        >>> labels = np.indices((4, 4, 8)).reshape(3, -1).T
        >>> scores = dci(labels.astype(float), labels)
        >>> bool(scores.disentanglement > 0.99), bool(scores.completeness > 0.99), scores.informativeness
        (True, True, 1.0)
    """
    check_choice("regressor", regressor, LEARN)
    means, labels = check_arrays(means, labels)
    n_latents, n_factors = means.shape[1], labels.shape[1]
    if min(n_latents, n_factors) < 2:
        raise ArgumentError(
            f"dci needs two latents and two factors at least, got {n_latents} and {n_factors}: a share of "
            "importance among one is always all of it"
        )
    seed = seed_of(random_state)
    rng = np.random.default_rng(seed)
    codes = standardised(means)
    importance, train, test = np.empty((n_latents, n_factors)), np.empty(n_factors), np.empty(n_factors)
    for k, factor in enumerate(labels.T):
        is_train = stratified_split(factor, factor=k, train_fraction=train_fraction, rng=rng)
        importance[:, k], is_right = LEARN[regressor](codes, factor, is_train, int(rng.integers(2**31 - 1)))
        train[k], test[k] = is_right[is_train].mean(), is_right[~is_train].mean()
    disentanglement, completeness = disentanglement_of(importance), completeness_of(importance)
    return DCI(
        importance,
        disentanglement.mean,
        disentanglement.per_latent,
        completeness.mean,
        completeness.per_factor,
        float(test.mean()),
        test,
        train,
    )


def _forest(
    codes: Float[np.ndarray, "n latent"],
    factor: Int[np.ndarray, "n"],
    is_train: Bool[np.ndarray, "n"],
    seed: int,
) -> tuple[Float[np.ndarray, "latent"], Bool[np.ndarray, "n"]]:
    """The importance of each latent for one factor, and which rows are predicted rightly."""
    rows_of_class = is_train.sum() // len(np.unique(factor))
    model = ExtraTreesClassifier(
        N_TREES,
        max_features=None,  # type: ignore[arg-type]  # of fewer, some nodes would see only noise
        max_depth=DEPTH,
        min_samples_leaf=int(np.clip(rows_of_class // 10, 1, LARGEST_LEAF)),
        random_state=seed,
    ).fit(codes[is_train], factor[is_train])
    return model.feature_importances_, model.predict(codes) == factor


def _boosting(
    codes: Float[np.ndarray, "n latent"],
    factor: Int[np.ndarray, "n"],
    is_train: Bool[np.ndarray, "n"],
    seed: int,
) -> tuple[Float[np.ndarray, "latent"], Bool[np.ndarray, "n"]]:
    model = GradientBoostingClassifier(random_state=seed).fit(codes[is_train], factor[is_train])
    return np.asarray(model.feature_importances_), model.predict(codes) == factor


def _lasso(
    codes: Float[np.ndarray, "n latent"],
    factor: Int[np.ndarray, "n"],
    is_train: Bool[np.ndarray, "n"],
    seed: int,
) -> tuple[Float[np.ndarray, "latent"], Bool[np.ndarray, "n"]]:
    centre, scale = factor.mean(), factor.std()
    folds = KFold(min(5, int(is_train.sum())), shuffle=True, random_state=seed)
    model = LassoCV(alphas=PENALTIES, cv=folds, max_iter=100_000)  # type: ignore[arg-type]
    model.fit(codes[is_train], (factor[is_train] - centre) / scale)
    classes = np.unique(factor)
    borders = (classes[1:] + classes[:-1]) / 2
    nearest = np.searchsorted(borders, centre + scale * model.predict(codes))
    return np.abs(model.coef_), classes[nearest] == factor


LEARN = {"forest": _forest, "boosting": _boosting, "lasso": _lasso}


def disentanglement_of(importance: Float[np.ndarray, "latent factor"]) -> LatentScores:
    """1 - H(shares of the factors in a latent's importance) / ln K, for each latent.

    Their mean is weighted by each latent's share of all importance; one without any has 0 and no weight.

    Args:
        importance: How much each latent matters for each factor, from 0; the unit cancels.

    Raises:
        ArgumentError: if there is one factor.
        DataError: if an entry is negative or not finite.

    Example:
        >>> found = disentanglement_of(np.array([[2.0, 0.0], [1.0, 1.0]]))
        >>> found.per_latent, found.mean
        (array([1., 0.]), 0.5)
    """
    return LatentScores(*_concentration(_check_importance(importance), "disentanglement_of", "factors"))


def completeness_of(importance: Float[np.ndarray, "latent factor"]) -> FactorScores:
    """1 - H(shares of the latents in a factor's importance) / ln D, for each factor.

    Their mean is weighted by each factor's share of all importance; one without any has 0 and no weight.

    Args:
        importance: How much each latent matters for each factor, from 0; the unit cancels.

    Raises:
        ArgumentError: if there is one latent.
        DataError: if an entry is negative or not finite.

    Example:
        >>> completeness_of(np.array([[2.0, 1.0], [0.0, 1.0]])).per_factor
        array([1., 0.])
    """
    return FactorScores(*_concentration(_check_importance(importance).T, "completeness_of", "latents"))


def _check_importance(importance: Any) -> Float[np.ndarray, "latent factor"]:
    importance = np.asarray(importance, np.float64)
    if importance.ndim != 2 or importance.size == 0:
        raise ArgumentError(f"importance must have the shape (latent, factor), got {importance.shape}")
    if not (np.isfinite(importance) & (importance >= 0)).all():
        raise DataError("importance must be finite and at least 0; of coefficients pass the magnitudes")
    return importance / (importance.max() or 1)


def _concentration(
    importance: Float[np.ndarray, "row column"], name: str, columns: str
) -> tuple[Float[np.ndarray, "row"], float]:
    """How far each row is from spread evenly, and the mean weighted by the rows' sums."""
    n_columns = importance.shape[1]
    if n_columns < 2:
        raise ArgumentError(f"{name} needs two {columns} at least: a share of one is always all of it")
    totals = importance.sum(1)
    shares = importance / np.where(totals > 0, totals, 1)[:, None]
    scores = np.where(totals > 0, 1 - entr(shares).sum(1) / np.log(n_columns), 0.0).clip(0, 1)
    return scores, float(scores @ totals / (totals.sum() or 1))
