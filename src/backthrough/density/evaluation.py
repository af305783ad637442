"""A fitted density beside the plainest one, in numbers and in a picture."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from backthrough.train import Headline, Number, mean_number

SHOWN = 4


def compare_with_gaussian(
    train: Float[np.ndarray, "train column"],
    test: Float[np.ndarray, "test column"],
    log_density: Float[np.ndarray, "test"],
) -> list[Number]:
    """The mean log-likelihood of test rows beside that of a Gaussian with a full covariance.

    Args:
        train: Rows that the Gaussian is fitted to.
        test: Other rows.
        log_density: What the density says of the test rows, in nats.

    Returns:
        The likelihood, the Gaussian's, and the gain; the likelihood alone where the Gaussian's covariance has
        no inverse.
    """
    mean, covariance = train.mean(0), np.atleast_2d(np.cov(train.T))
    centred = test - mean
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    squares = np.einsum("ri,ij,rj->r", centred, np.linalg.pinv(covariance), centred)
    gaussian = -0.5 * (squares + log_det)
    what = f"mean over {len(test):,} test rows, in the units of the table"
    numbers = [mean_number("log-likelihood", log_density, "nats", what)]
    if np.isfinite(gaussian).all():
        numbers.append(mean_number("log-likelihood of a Gaussian", gaussian, "nats", what))
        numbers.append(mean_number("gain over a Gaussian", log_density - gaussian, "nats", what))
    return numbers


def headline(numbers: list[Number], *, picture: str = "") -> Headline:
    """What came out, and whether it is better than a Gaussian; `numbers` are those of the comparison."""
    by_name = {number.name: number for number in numbers}
    gain = by_name.get("gain over a Gaussian")
    if gain is None:
        own = by_name["log-likelihood"]
        sentence = f"Held-out rows have a log-likelihood of {own.value:.3g} nats a row."
        return Headline(sentence, own.name, picture)
    error = gain.standard_error or 0.0
    if gain.value > 2 * error:
        verdict = "the flow has found shape that a Gaussian lacks"
    elif gain.value < -2 * error:
        verdict = "a Gaussian describes them better, so use the Gaussian"
    else:
        verdict = "no clear difference, so the Gaussian will do"
    more = "more" if gain.value >= 0 else "less"
    sentence = (
        f"Held-out rows are {abs(gain.value):.3g} ± {error:.2g} nats a row {more} likely under the flow than "
        f"under a Gaussian: {verdict}."
    )
    return Headline(sentence, gain.name, picture)


def plot_columns(table: pd.DataFrame, draws: pd.DataFrame) -> Figure:
    """The first columns of a table against each other, and the same of draws from its density."""
    shown = list(table.columns[:SHOWN])
    figure = Figure(
        figsize=(0.8 + 1.5 * max(2, len(shown)), 0.8 + 1.5 * max(2, len(shown))), layout="constrained"
    )
    axes = figure.subplots(len(shown), len(shown), squeeze=False)
    kinds: list[tuple[Any, str, str]] = [(table[: len(draws)], "0.55", "table"), (draws, "C0", "draws")]
    for i, low in enumerate(shown):
        for j, across in enumerate(shown):
            own = axes[i][j]
            for points, colour, label in kinds:
                if i == j:
                    own.hist(points[low], bins=30, density=True, histtype="step", color=colour, label=label)
                else:
                    own.scatter(points[across], points[low], s=1.5, color=colour, alpha=0.5)
            if i == len(shown) - 1:
                own.set_xlabel(across)
            if j == 0:
                own.set_ylabel(low)
    axes[0][0].legend(fontsize="small")
    return figure
