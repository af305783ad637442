"""A fitted density beside the plainest one, in numbers and in a picture."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from backthrough.train import Headline, Number, mean_number, with_error

SHOWN = 4
FEWEST = 10  # held-out rows below which no verdict is given


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
        sentence = f"Held-out rows have a log-likelihood of {own} a row."
        return Headline(sentence, own.name, picture)
    error = gain.standard_error or 0.0
    if (gain.n or 0) < FEWEST:
        verdict = f"{gain.n} held-out rows are too few to tell"
    elif gain.value > 2 * error:
        verdict = "the flow has found shape that a Gaussian lacks"
    elif gain.value < -2 * error:
        verdict = "a Gaussian describes them better, so use the Gaussian"
    else:
        verdict = "no clear difference, so the Gaussian will do"
    more = "more" if gain.value >= 0 else "less"
    sentence = (
        f"Held-out rows are {with_error(abs(gain.value), error)} nats a row {more} likely under the flow "
        f"than under a Gaussian: {verdict}."
    )
    return Headline(sentence, gain.name, picture)


def plot_columns(table: pd.DataFrame, draws: pd.DataFrame) -> Figure:
    """The first columns against each other: of the table below the diagonal, of draws from it above."""
    shown = list(table.columns[:SHOWN])
    size = 0.8 + 1.5 * max(2, len(shown))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots(len(shown), len(shown), squeeze=False)
    low_ends, spans = table[shown].min(), table[shown].max() - table[shown].min()
    limits = {
        name: (low_ends[name] - 0.1 * spans[name], low_ends[name] + 1.1 * spans[name]) for name in shown
    }
    for i, low in enumerate(shown):
        for j, across in enumerate(shown):
            own = axes[i][j]
            if i == j:
                bins = np.linspace(*limits[low], 37)
                for points, colour, label in ((table, "0.45", "table"), (draws, "C0", "draws")):
                    own.hist(points[low], bins=bins, density=True, histtype="step", color=colour, label=label)
            else:
                points, colour = (table[: len(draws)], "0.45") if i > j else (draws, "C0")
                own.scatter(points[across], points[low], s=2, color=colour, alpha=0.6, linewidths=0)
                own.set_ylim(limits[low])
            own.set_xlim(limits[across])
            if i == len(shown) - 1:
                own.set_xlabel(across)
            if j == 0:
                own.set_ylabel(low if i else f"density of {low}")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
