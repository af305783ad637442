"""Stays in intensive care as irregular series: PhysioNet 2012 as Rubanova et al. (2019) prepare it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from backthrough.core import ArgumentError, DataError, check_positive
from backthrough.datasets import load
from backthrough.latent import Observations

HOURS = 48.0
DESCRIPTORS = ("Age", "Gender", "Height", "ICUType")  # said once, on admission: no series
MISSING_WEIGHT = -1.0


class Stays(NamedTuple):
    """One padded series for each stay.

    Attributes:
        series: In the data's units; time 0 is admission and 1 is 48 hours later.
        died: Whether the patient died in the hospital.
        names: The channels.
    """

    series: Observations
    died: Bool[np.ndarray, "stay"]
    names: tuple[str, ...]


class Scale(NamedTuple):
    """What is taken from each channel, and what it is then divided by."""

    shift: Float[np.ndarray, "channel"]
    width: Float[np.ndarray, "channel"]

    def apply(self, series: Observations, *, limit: float = np.inf) -> Observations:
        """Scaled values, not beyond `limit` from 0."""
        values = np.clip((series.values - self.shift) / self.width, -limit, limit)
        return series._replace(values=np.where(series.mask, values, 0.0).astype(np.float32))


def load_stays(bin_hours: float) -> Stays:
    """The stays of set A; see `bin_stays`.

    Raises:
        DataError: if the data set is not here, saying how to get it.
    """
    return bin_stays(load("physionet2012"), bin_hours)


def bin_stays(data: Mapping[str, Shaped[np.ndarray, "..."]], bin_hours: float) -> Stays:
    """Rounds times to a multiple of `bin_hours` and averages what falls on the same one.

    The four descriptors (Age, Gender, Height, ICUType) are no channels; Weight recurs and is one. A Weight
    of -1 is missing. Nothing else is cleaned.

    Args:
        data: The arrays of the data set `physionet2012`.
        bin_hours: Must divide the 48 hours.

    Raises:
        ArgumentError: if it does not.
        DataError: naming the record whose measurements lie outside the 48 hours or are not finite.
    """
    bin_hours = check_positive("bin_hours", bin_hours)
    n_bins = round(HOURS / bin_hours)
    if n_bins < 1 or abs(n_bins * bin_hours - HOURS) > 1e-6:
        raise ArgumentError(f"bin_hours must divide the 48 hours of a stay, got {bin_hours}")
    names = [str(name) for name in data["param_names"]]
    channels = tuple(name for name in names if name not in DESCRIPTORS)
    column = np.array([channels.index(name) if name in channels else -1 for name in names])
    n_stays = len(data["offset"]) - 1
    stay = np.repeat(np.arange(n_stays), np.diff(data["offset"]))
    hour, value = data["minute"] / 60.0, data["value"].astype(np.float64)
    channel = column[data["param"]]
    kept = (channel >= 0) & ~((data["param"] == names.index("Weight")) & (value == MISSING_WEIGHT))
    bad = kept & ~(np.isfinite(value) & (hour <= HOURS))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"physionet2012: record {data['record_id'][stay[row]]} has {channels[channel[row]]} = "
            f"{value[row]} at minute {data['minute'][row]}; it must be finite, and within {HOURS:g} hours"
        )
    moment = stay * (n_bins + 1) + np.rint(hour / bin_hours).astype(np.int64)
    moments, index = np.unique(moment[kept], return_inverse=True)
    cell = index * len(channels) + channel[kept]
    shape = (len(moments), len(channels))
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(cell, value[kept], minlength=shape[0] * shape[1]).reshape(shape)
    owner, at = np.divmod(moments, n_bins + 1)
    series = _pad(
        owner, at / n_bins, np.where(counts, sums / np.maximum(counts, 1), 0.0), counts > 0, n_stays
    )
    died = data["outcomes"][:, list(data["outcome_names"]).index("In-hospital_death")] == 1
    return Stays(series, died, channels)


def _pad(
    owner: Int[np.ndarray, "moment"],
    times: Float[np.ndarray, "moment"],
    values: Float[np.ndarray, "moment channel"],
    mask: Bool[np.ndarray, "moment channel"],
    n_stays: int,
) -> Observations:
    """Rows that belong to stays, in order, as one batch; the last time of a stay is repeated.

    A stay without any row has the time 0 and nothing observed.
    """
    counts = np.bincount(owner, minlength=n_stays)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    length, n_channels = max(1, int(counts.max(initial=0))), values.shape[1]
    out = Observations(
        np.zeros((n_stays, length), np.float32),
        np.zeros((n_stays, length, n_channels), np.float32),
        np.zeros((n_stays, length, n_channels), bool),
    )
    for target, rows in zip(out, (times, values, mask), strict=True):
        target[owner, place] = rows
    return out._replace(times=np.maximum.accumulate(out.times, axis=1))


def measure_range(series: Observations) -> Scale:
    """The scale that puts all values of each channel of these stays into [0, 1], as the paper's does."""
    return _measure(series, 0.0, 1.0, middle=0.0)


def measure_spread(series: Observations) -> Scale:
    """The median of each channel, and what lies between the tenth and the ninetieth percentile.

    A single wrong entry (a pH of 735) leaves no difference between all others in their range.
    """
    return _measure(series, 0.1, 0.9, middle=0.5)


def deviation(series: Observations, *, least: float) -> Float[np.ndarray, "channel"]:
    """Standard deviation of each channel; `least` for one that hardly varies or was never seen."""
    count = np.maximum(series.mask.sum((0, 1)), 1)
    mean = np.where(series.mask, series.values, 0.0).sum((0, 1), dtype=np.float64) / count
    squares = np.where(series.mask, np.square(series.values - mean), 0.0).sum((0, 1))
    return np.maximum(np.sqrt(squares / count), least)


def _measure(series: Observations, low: float, high: float, *, middle: float) -> Scale:
    """From quantiles; a channel that was never seen or does not vary is divided by 1."""
    columns = [series.values[..., c][series.mask[..., c]] for c in range(series.values.shape[-1])]
    levels = [middle, low, high]
    found = np.array([np.quantile(own, levels) if len(own) else np.zeros(3) for own in columns])
    shift, bottom, top = found.T
    return Scale(shift, np.where(top > bottom, top - bottom, 1.0))


def take(series: Observations, rows: Int[np.ndarray, "row"]) -> Observations:
    """Some of the stays."""
    return Observations(*(part[rows] for part in series))


def hide(series: Observations, hidden: Bool[np.ndarray, "stay time"]) -> Observations:
    """The same times with nothing observed at some of them."""
    return series._replace(mask=series.mask & ~hidden[..., None])
