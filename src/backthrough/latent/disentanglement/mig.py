"""The mutual information gap, by integration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from backthrough.core import ArgumentError
from backthrough.latent.disentanglement.codes import Codes, check_codes
from backthrough.latent.disentanglement.factors import read_factors
from backthrough.latent.disentanglement.mutual_information import MutualInformation, mutual_information


@dataclass(frozen=True, eq=False)
class MIG:
    """The mutual information gap of each factor (Chen et al. 2018, eq. 6).

    Attributes:
        names: Of the factors.
        gaps: (I(z_1; v) - I(z_2; v)) / H(v) of each factor, from 0 to 1, z_1 and z_2 being the two latents
            that tell most of it.
        errors: Of each gap: at most so much is due to the number of cells. Nothing here is drawn at random.
        information: What the gaps come from.
    """

    names: tuple[str, ...]
    gaps: Float[np.ndarray, " factor"]
    errors: Float[np.ndarray, " factor"]
    information: MutualInformation

    @property
    def mean(self) -> float:
        """The mean gap, which is what is called MIG."""
        return float(self.gaps.mean())

    @property
    def error(self) -> float:
        """Of the mean."""
        return float(self.errors.mean())

    def table(self) -> pd.DataFrame:
        """A row for each factor."""
        share = self.information.values / self.information.entropies
        order = np.argsort(-share, axis=0, kind="stable")
        columns = {"gap": self.gaps, "error": self.errors}
        for place, words in enumerate(("most", "second")):
            columns[f"{words} in latent"] = order[place]
            columns[f"{words} I/H"] = np.take_along_axis(share, order[place][None], axis=0)[0]
        columns["H (nats)"] = self.information.entropies
        return pd.DataFrame(columns, index=pd.Index(self.names, name="factor"))

    def plot(self, axes: Axes) -> Axes:
        """The heat map of I(z_j; v) / H(v), latents along the horizontal axis."""
        return plot_shares(axes, self.information, self.names)

    def __str__(self) -> str:
        """The table, and the mean."""
        return f"{self.table().round(4).to_string()}\nMIG {self.mean:.4f} (error at most {self.error:.1g})"


def mig(
    codes: Codes,
    factors: Any,
    *,
    names: Sequence[str] | None = None,
    bins: Mapping[str, int] | None = None,
    n_cells: int = 512,
) -> MIG:
    """How much more of each factor the best latent tells than the second best (Chen et al. 2018, sec. 4.1).

    z are draws of q(z | n), not means, and the mixtures are those of all examples: the paper's own number,
    with integration in place of its 10,000 draws for each value of a factor.

    Args:
        codes: Posteriors of a data set, of two latents or more.
        factors: As `read_factors` takes them: shape (example, factor).
        names: Of the factors.
        bins: For continuous factors; see `read_factors`.
        n_cells: About as many cells of each latent, a multiple of 4; more of them make the errors smaller.

    Raises:
        ArgumentError: for arguments that do not fit, or a single latent, which has no second best.
        DataError: for factors that cannot be used.

    Example:
        >>> import numpy as np
        >>> grid = np.indices((4, 4)).reshape(2, -1).T
        >>> mig(Codes(grid, np.full(grid.shape, 0.05)), grid).mean.__round__(4)
        1.0
    """
    check_codes("mig", codes)
    known = read_factors(factors, names=names, bins=bins)
    found = mutual_information(codes, known, n_cells=n_cells)
    gaps, errors = gap_of(found)
    return MIG(known.names, gaps, errors, found)


def gap_of(information: MutualInformation) -> tuple[np.ndarray, np.ndarray]:
    """The gap of each factor over its entropy, and how far the cells may have moved it.

    The true values lie between I and I plus its error, so that the second best may rise, or the best.

    Raises:
        ArgumentError: if there is one latent.
    """
    if len(information.values) < 2:
        raise ArgumentError("the gap is between the two best latents, and these codes have one")
    best = np.sort(information.values, axis=0)[-2:]
    highest = np.sort(information.values + information.errors, axis=0)[-2:]
    gaps = (best[1] - best[0]) / information.entropies
    return gaps, (highest - best).max(0) / information.entropies


def plot_shares(axes: Axes, information: MutualInformation, names: Sequence[str]) -> Axes:
    """The heat map of I(z_j; v) / H(v), a row for each factor."""
    share = (information.values / information.entropies).T
    image = axes.imshow(share, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.grid(False)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(share.shape[1]))
    axes.set(xlabel="latent", title="share of each factor that each latent tells, I / H")
    if axes.figure is not None:
        axes.figure.colorbar(image, ax=axes)
    return axes
