"""What the PhysioNet recipe measures on stays that were held out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from backthrough.recipes.latent.physionet.cross_validation import roc_auc
from backthrough.recipes.latent.physionet.data import Scale
from backthrough.recipes.latent.physionet.models import Case, Reader, Reconstructor
from backthrough.train import Headline, Number, mean_number

BETTER = "AUC (better of ode-rnn and latent-ode)"


class Scales(NamedTuple):
    """Of what encoders see, and of what is to be found."""

    seen: Scale
    target: Scale


class Outcome(NamedTuple):
    """A trained model, and what it says of the stays of the fold held out: log-odds, or scaled means."""

    model: Reader | Reconstructor
    scales: Scales
    rows: Int[np.ndarray, "test"]
    test: Case
    found: Float[np.ndarray, "test *time_channel"]


def pooled_error(means: Float[np.ndarray, "stay time channel"], data: Case) -> float:
    """Mean squared error over all values to be found."""
    return float(np.square(means - data.target.values)[data.target.mask].mean())


def error_of_stays(means: Float[np.ndarray, "stay time channel"], data: Case) -> Float[np.ndarray, "stay"]:
    """For each stay the mean over channels of the mean squared error; 0 for a channel without a value.

    So the authors' code measures; a channel that was not observed makes the figure smaller.
    """
    mask = data.target.mask
    squares = np.where(mask, np.square(means - data.target.values), 0.0).sum(1)
    return (squares / np.maximum(mask.sum(1), 1)).mean(1)


def rank_numbers(results: Mapping[str, Sequence[Outcome]], *, n_folds: int) -> list[Number]:
    """The AUC of every model, a mean over the folds held out, and that of the better one with an ODE."""
    first = next(iter(results.values()))
    died = np.concatenate([own.test.died for own in first])
    what = f"{len(first)} of {n_folds} stratified folds held out in turn, {len(died):,} stays"
    numbers = {}
    for name, own in results.items():
        areas = np.array([roc_auc(np.asarray(o.test.died), o.found) for o in own])
        numbers[name] = mean_number(f"AUC ({name})", areas, "", what)
    with_ode = [number for name, number in numbers.items() if name != "gru"]
    if len(with_ode) > 1:
        best = max(with_ode, key=lambda number: number.value)
        numbers[BETTER] = replace(best, name=BETTER, what=f"that of {best.name}; {what}")
    share = mean_number("died", died.astype(float), "", "share of the stays held out")
    return [*numbers.values(), share]


def error_numbers(results: Mapping[str, Sequence[Outcome]], task: str) -> list[Number]:
    """Squared errors of every model on the stays held out."""
    numbers = []
    for name, own in results.items():
        stays = np.concatenate([error_of_stays(o.found, o.test) for o in own])
        pooled = np.concatenate([np.square(o.found - o.test.target.values)[o.test.target.mask] for o in own])
        over = f"{len(stays):,} stays held out, scaled to [0, 1] by those trained on"
        numbers += [
            mean_number(
                f"{task} error ({name})",
                1e3 * stays,
                "1e-3",
                f"mean squared, over channels and then stays, a channel without values as 0; {over}",
            ),
            Number(
                f"{task} error of a value ({name})",
                1e3 * float(pooled.mean()),
                "1e-3",
                f"mean squared, over all {len(pooled):,} values of {over}",
            ),
        ]
    return numbers


def headline(numbers: Sequence[Number], task: str, names: Sequence[str]) -> Headline:
    """How well each model does, the best one first."""
    rank = task == "mortality"
    by_name = {number.name: number for number in numbers}
    value = {name: by_name[f"AUC ({name})" if rank else f"{task} error ({name})"] for name in names}
    order = sorted(value, key=lambda name: -value[name].value if rank else value[name].value)
    shown = ", ".join(f"{value[name].value:.3g} by {name}" for name in order)
    what = "Deaths of stays held out are ranked with an AUC of" if rank else f"The {task} error (1e-3) is"
    return Headline(f"{what} {shown}.", value[order[0]].name, "roc.svg" if rank else "records.svg")
