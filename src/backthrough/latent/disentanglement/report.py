"""All metrics of one set of codes, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes

from backthrough.core import ArgumentError, DataError, check_choice, check_integer, seed_of
from backthrough.latent.disentanglement.arrays import check_arrays, check_same_index
from backthrough.latent.disentanglement.binned import binned_mutual_information, entropies, modularity
from backthrough.latent.disentanglement.codes import Codes
from backthrough.latent.disentanglement.dci import DCI, dci
from backthrough.latent.disentanglement.explicitness import explicitness
from backthrough.latent.disentanglement.factors import Factors, read_factors
from backthrough.latent.disentanglement.mig import gap_of, plot_shares
from backthrough.latent.disentanglement.mutual_information import MutualInformation, mutual_information
from backthrough.latent.disentanglement.sap import sap
from backthrough.latent.disentanglement.votes import beta_vae_score, factor_vae_score
from backthrough.train import Number


@dataclass(frozen=True, eq=False)
class Disentanglement:
    """Scores of codes: all are 1 for a perfect code, but what each calls perfect differs.

    Attributes:
        names: Of the factors.
        per_factor: Scores of each factor, shape (factor,); NaN where a score is about latents instead.
        means: The scores themselves.
        missing: Scores that could not be had, and why.
        information: I(z_j; v): of exact mixtures if there are scales, of binned means otherwise.
        mig_error: How far the number of cells may have moved MIG; NaN without scales.
        n: Examples.
        n_rows: Rows, drawn at random, that all scores but MIG and the binned ones are of.
    """

    names: tuple[str, ...]
    per_factor: Mapping[str, Float[np.ndarray, " factor"]]
    means: Mapping[str, float]
    missing: Mapping[str, str]
    information: MutualInformation
    mig_error: float
    n: int
    n_rows: int

    def table(self) -> pd.DataFrame:
        """A row for each score: its mean, and one column for each factor."""
        rows = {name: [mean, *self.per_factor[name]] for name, mean in self.means.items()}
        columns = ["mean", *self.names]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("score")

    def numbers(self) -> list[Number]:
        """The means for a run's result, each with what it is."""
        return [Number(name, mean, "", SCORES[name].words) for name, mean in self.means.items()]

    def plot(self, axes: Axes) -> Axes:
        """The heat map of I(z_j; v) / H(v)."""
        return plot_shares(axes, self.information, self.names)

    def sentence(self) -> str:
        """Which factors have a latent of their own, in words."""
        share = self.information.values / self.information.entropies
        best, second = np.sort(share, axis=0)[::-1][:2] if len(share) > 1 else (share[0], 0 * share[0])
        own = [name for name, gap in zip(self.names, best - second, strict=True) if gap >= 0.5]
        spread = [name for name, a, b in zip(self.names, best, best - second, strict=True) if a >= 0.1 > b]
        words = [f"{', '.join(own) or 'No factor'} {'have' if len(own) > 1 else 'has'} a latent of its own"]
        if spread:
            words.append(f"{', '.join(spread)}: spread over several")
        lost = [name for name, a in zip(self.names, best, strict=True) if a < 0.1]
        if lost:
            words.append(f"{', '.join(lost)}: in none")
        name = "MIG" if "MIG" in self.means else "MIG, binned"
        score = f" ({name} {self.means[name]:.2f})" if name in self.means else ""
        return "; ".join(words) + score + "."

    def __str__(self) -> str:
        """The table, what it is of, and what is missing."""
        lines = [self.table().round(3).to_string()]
        if self.n_rows < self.n:
            lines.append(
                f"{self.n:,} examples; all scores but the MIGs are of {self.n_rows:,} drawn at random"
            )
        lines += [f"no {name}: {why}" for name, why in self.missing.items()]
        return "\n".join(lines)


def metrics(
    codes: Codes | Shaped[np.ndarray, "example latent"] | pd.DataFrame,
    factors: Any,
    *,
    names: Sequence[str] | None = None,
    bins: Mapping[str, int] | None = None,
    only: Sequence[str] | None = None,
    n_rows: int = 10_000,
    random_state: Any = 0,
) -> Disentanglement:
    """Scores of codes against known factors, from arrays.

    Args:
        codes: Posteriors of a data set, or an array of encoder means, which have no MIG but the binned one.
        factors: As `read_factors` takes them: shape (example, factor).
        names: Of the factors.
        bins: For continuous factors; see `read_factors`.
        only: Names of scores, those of `SCORES`. All by default, where one that the data do not allow is left
            out and named in `missing`; asked for by name it is an error.
        n_rows: At most so many rows, drawn at random, are used by scores that fit models.
        random_state: A seed or generator, as scikit-learn takes them.

    Raises:
        ArgumentError: for arguments that do not fit, or codes with weights: these scores count every example
            once (`mig` takes weights).
        DataError: for codes or factors that cannot be used.
    """
    n_rows = check_integer("n_rows", n_rows, minimum=2)
    if isinstance(only, str):
        raise ArgumentError(f"only must be names of scores, such as [{only!r}], got one word")
    check_same_index("codes", codes, "factors", factors)
    wanted = tuple(SCORES) if only is None else tuple(check_choice("score", name, SCORES) for name in only)
    known = read_factors(factors, names=names, bins=bins)
    exact = codes if isinstance(codes, Codes) else None
    if exact is not None and np.ptp(exact.weights) > 1e-9 / exact.n:
        raise ArgumentError("metrics counts every example once: pass codes without weights, or use mig")
    means, labels = check_arrays(codes if exact is None else exact.means, known.labels)
    seed = seed_of(random_state)
    rows = np.sort(np.random.default_rng(seed).permutation(len(means))[:n_rows])
    some = (means[rows], labels[rows])
    continuous = tuple(i for i, name in enumerate(known.names) if name in (bins or {}))
    data = _Data(exact, known, means, labels, some, continuous, seed)
    per_factor, averages, missing = {}, {}, {}
    for name in wanted:
        try:
            each, mean = SCORES[name].compute(data)
        except (ArgumentError, DataError) as error:
            if only is not None:
                raise
            missing[name] = str(error)
            continue
        per_factor[name] = np.full(len(known.names), np.nan) if each is None else np.asarray(each)
        averages[name] = float(mean)
    information = data.binned if exact is None else data.exact
    error = np.nan if exact is None or "MIG" not in averages else float(gap_of(data.exact)[1].mean())
    return Disentanglement(
        known.names, per_factor, averages, missing, information, error, len(means), len(rows)
    )


@dataclass(frozen=True, eq=False)
class _Data:
    """What scores are computed from; what two of them need is computed once."""

    codes: Codes | None
    known: Factors
    means: np.ndarray
    labels: np.ndarray
    some: tuple[np.ndarray, np.ndarray]
    continuous: tuple[int, ...]
    seed: int

    @cached_property
    def exact(self) -> MutualInformation:
        if self.codes is None:
            raise ArgumentError("exact mixtures need the scales of codes, and there are means only")
        return mutual_information(self.codes, self.known)

    @cached_property
    def binned(self) -> MutualInformation:
        values = binned_mutual_information(self.means, self.labels)
        return MutualInformation(values, np.full(values.shape, np.nan), entropies(self.labels))

    @cached_property
    def forest(self) -> DCI:
        return dci(*self.split(), random_state=self.seed)

    def split(self, *, besides: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The rows of scores that split each class of each factor, but those `besides`."""
        means, labels = self.some
        for k, name in enumerate(self.known.names):
            classes, counts = np.unique(labels[:, k], return_counts=True)
            if k not in besides and counts.min() < 2:
                value = self.known.values[k][classes[counts.argmin()]]
                rows, more = "all", ""
                if len(means) < len(self.means):
                    rows, more = f"the {len(means):,} rows drawn (n_rows)", "draw more, "
                raise DataError(
                    f"factor {name!r} has the value {value} in one row of {rows}, which cannot be both "
                    f"learnt and tested: leave that row out, {more}or merge values"
                )
        return means, labels


Found = tuple[np.ndarray | None, float]


class Score(NamedTuple):
    """One score.

    Attributes:
        words: What it is.
        compute: Its value for each factor, or None where it is about latents, and their mean.
    """

    words: str
    compute: Callable[[_Data], Found]


def _gap(information: MutualInformation) -> Found:
    gaps, _ = gap_of(information)
    return gaps, gaps.mean()


def _sap(data: _Data) -> Found:
    found = sap(*data.split(besides=data.continuous), continuous=data.continuous, random_state=data.seed)
    return found.per_factor, found.mean


def _explicitness(data: _Data) -> Found:
    found = explicitness(*data.split(), random_state=data.seed)
    return found.per_factor, found.mean


def _factor_vae(data: _Data) -> Found:
    found = factor_vae_score(*data.some, random_state=data.seed)
    if not found.is_active.any():
        raise DataError(
            "no latent has a standard deviation of .05, so none has a vote: factor_vae_score takes min_std"
        )
    return found.per_factor, found.mean


def _beta_vae(data: _Data) -> Found:
    found = beta_vae_score(*data.some, random_state=data.seed)
    return found.per_factor, found.mean


SCORES = {
    "MIG": Score(
        "mutual information gap, exact mixtures of q(z | n) (Chen et al. 2018)", lambda data: _gap(data.exact)
    ),
    "MIG, binned": Score(
        "mutual information gap, means in 20 bins (Locatello et al. 2019)", lambda data: _gap(data.binned)
    ),
    "DCI disentanglement": Score(
        "each latent serves one factor, by a forest (Eastwood and Williams 2018)",
        lambda data: (None, data.forest.disentanglement),
    ),
    "DCI completeness": Score(
        "each factor is served by one latent, by the same",
        lambda data: (data.forest.completeness_per_factor, data.forest.completeness),
    ),
    "DCI informativeness": Score(
        "accuracy of the forest on rows held out",
        lambda data: (data.forest.informativeness_per_factor, data.forest.informativeness),
    ),
    "SAP": Score("gap of the two best latents' scores (Kumar et al. 2018)", _sap),
    "modularity": Score(
        "each latent tells of one factor, means in 20 bins (Ridgeway and Mozer 2018)",
        lambda data: (None, modularity(data.binned.values).mean),
    ),
    "explicitness": Score(
        "AUC of logistic regression on rows held out (Ridgeway and Mozer 2018)", _explicitness
    ),
    "FactorVAE score": Score("votes by the latent that varies least (Kim and Mnih 2018)", _factor_vae),
    "beta-VAE score": Score("classes of mean differences (Higgins et al. 2017)", _beta_vae),
}
