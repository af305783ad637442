"""What `explain` found: regions, and how good they are, measured."""

import io
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

from backthrough.core import ArgumentError
from backthrough.core.files import write_atomically
from backthrough.explain.units import Partition

Kind = Literal["ssr", "sdr"]
MOST_NAMED = 8


@dataclass(frozen=True)
class Regions:
    """The smallest supporting or destroying region of each input, with its certificate.

    Attributes:
        kind: `"ssr"`: what is selected is kept, and suffices; `"sdr"`: it is hidden, and its loss destroys.
        probability: With which each unit is selected, by the best of the starts.
        spread: Standard deviation of the probability over the starts; 0 where there is one.
        selected: The best set of units that was tried.
        score: The mean score with this set kept or hidden, over draws that the search has not seen.
        score_error: Its standard error over the draws; 0 where all draws are the same, NaN of one draw.
        success: The part of the draws in which the score is above 0 (SSR) or not (SDR): whether the class has
            more than half of the probability, which of many classes the first may well not have.
        area: Of the set, as a part of the whole.
        loss: Of the set: the score, negative for SSR, and the price of the area; scores in full.
        counterfactuals: The draws: the inputs with the set kept or hidden, and the rest filled in.
        curve: The score when the units are selected one after the other, the most probable first: after each
            of `curve_area`.
        curve_area: Parts of the whole.
        history: Estimated loss at each step of learning, from each start.
        changes: Loss in each round of changes at the border.
        n_model_calls: How often the model was called with a changed input, for each input.
    """

    kind: Kind
    probability: Float[np.ndarray, "input unit"]
    spread: Float[np.ndarray, "input unit"]
    selected: Bool[np.ndarray, "input unit"]
    score: Float[np.ndarray, "input"]
    score_error: Float[np.ndarray, "input"]
    success: Float[np.ndarray, "input"]
    area: Float[np.ndarray, "input"]
    loss: Float[np.ndarray, "input"]
    counterfactuals: Float[np.ndarray, "input draw ..."]
    curve: Float[np.ndarray, "input point"]
    curve_area: Float[np.ndarray, "input point"]
    history: Float[np.ndarray, "input start step"]
    changes: Float[np.ndarray, "input start round"]
    n_model_calls: int

    @property
    def relevance(self) -> Float[np.ndarray, "input unit"]:
        """The probability of the units of the best set, and 0 for the others.

        Outside of the set, a probability that is learned from a black box, or through an infill that depends
        on the mask, is little more than where learning began, and noise.
        """
        return self.probability * self.selected

    @property
    def keep_probability(self) -> Float[np.ndarray, "input unit"]:
        """With which each unit is kept."""
        return self.probability if self.kind == "ssr" else 1 - self.probability

    @property
    def verb(self) -> str:
        """What is done to the selected units."""
        return "kept" if self.kind == "ssr" else "hidden"


@dataclass(frozen=True)
class Explanation:
    """Which parts of each input the model's answer rests on.

    Attributes:
        x: The inputs.
        target: The class of each that was asked about.
        predicted: The class that the model predicts.
        score: Of each input as it is: log-odds of the class, or the caller's.
        ssr: What suffices for the class, if it was asked for.
        sdr: What the class cannot do without, if it was asked for.
        partition: The units.
        notes: What a reader must know before trusting it.
        classes: What the model calls its classes.
    """

    x: Float[np.ndarray, "input ..."]
    target: Int[np.ndarray, "input"]
    predicted: Int[np.ndarray, "input"]
    score: Float[np.ndarray, "input"]
    ssr: Regions | None
    sdr: Regions | None
    partition: Partition = field(repr=False)
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many inputs there are."""
        return len(self.x)

    def __getitem__(self, rows: int | slice | Int[np.ndarray, "row"]) -> "Explanation":
        """The explanation of some of the inputs; of one, still with a leading axis."""
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        if chosen.ndim != 1:
            raise IndexError(f"an explanation has one axis, got the index {rows!r}")
        parts = {own.kind: _rows(own, chosen) for own in self.regions}
        return replace(
            self,
            x=self.x[chosen],
            target=self.target[chosen],
            predicted=self.predicted[chosen],
            score=self.score[chosen],
            ssr=parts.get("ssr"),
            sdr=parts.get("sdr"),
        )

    @property
    def regions(self) -> tuple[Regions, ...]:
        """Those that were asked for."""
        return tuple(own for own in (self.ssr, self.sdr) if own is not None)

    @cached_property
    def map(self) -> Float[np.ndarray, "input ..."]:
        """How much each place matters, 0 to 1, in the shape of an input without channels.

        The mean of the regions' `relevance`.
        """
        return self.draw(np.mean([own.relevance for own in self.regions], axis=0))

    def draw(self, units: Float[np.ndarray, "input unit"] | Bool[np.ndarray, "input unit"]) -> np.ndarray:
        """Numbers of units at the places of the input."""
        return units[:, self.partition.canvas]

    def mask(self, kind: Kind) -> Bool[np.ndarray, "input ..."]:
        """The best set of one kind, at the places of the input."""
        return self.draw(self._region(kind).selected)

    def table(self) -> pd.DataFrame:
        """A row for each input and region: the certificate."""
        rows = [
            {
                "input": i,
                "region": own.kind,
                "class": self.name_of(int(self.target[i])),
                "score before": self.score[i],
                "score after": own.score[i],
                "standard error": own.score_error[i],
                "success": own.success[i],
                "area": own.area[i],
                "units": int(own.selected[i].sum()),
                "which": self._names(own.selected[i]),
                "loss": own.loss[i],
                "model calls": own.n_model_calls,
            }
            for i in range(len(self))
            for own in self.regions
        ]
        return pd.DataFrame(rows)

    def name_of(self, index: int) -> str:
        """What the model calls a class."""
        return self.classes[index] if self.classes else str(index)

    def _names(self, selected: Bool[np.ndarray, "unit"]) -> str:
        """The units of a set, the first ones and how many others."""
        chosen = np.flatnonzero(selected)
        names = [self.partition.names[i] if self.partition.names else str(i) for i in chosen[:MOST_NAMED]]
        others = len(chosen) - len(names)
        return ", ".join([*names, *([f"and {others} others"] if others else [])])

    def plot(self, index: int = 0) -> Figure:
        """A figure of one input: the input, its map, and for each region the set and counterfactuals."""
        from backthrough.explain.drawing import draw_explanation

        if not 0 <= index < len(self):
            raise ArgumentError(f"there are {len(self)} inputs, got index {index}")
        return draw_explanation(self, index)

    def save(self, path: str | Path) -> None:
        """Writes all arrays into one `.npz`: `map`, `x`, `score`, `ssr_selected`, `sdr_counterfactuals`, ...

        Read it with `numpy.load`; it holds no pickle.
        """
        arrays = {"map": self.map, "x": self.x, "target": self.target, "score": self.score}
        arrays["canvas"] = self.partition.canvas
        for own in self.regions:
            arrays |= {
                f"{own.kind}_{part.name}": np.asarray(getattr(own, part.name))
                for part in fields(own)
                if part.name != "kind"
            }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_atomically(Path(path), buffer.getvalue())

    def _region(self, kind: Kind) -> Regions:
        found = {own.kind: own for own in self.regions}
        if kind not in found:
            raise ArgumentError(f"there is no region {kind!r}, only {', '.join(found)}")
        return found[kind]


def _rows(region: Regions, chosen: Int[np.ndarray, "row"]) -> Regions:
    arrays = {
        part.name: getattr(region, part.name)[chosen]
        for part in fields(region)
        if part.name not in ("kind", "n_model_calls")
    }
    return replace(region, **arrays)
