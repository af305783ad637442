"""What `tune` returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import PyTree
from backthrough.hyper.schedule import Schedule
from backthrough.hyper.tuner import Tuner, TuneState

SHOWN = 12  # coordinates drawn one by one


@dataclass(frozen=True, eq=False)
class TuneResult:
    """Hyperparameters, the weights that belong to them, and how they were found.

    Attributes:
        hyper: Values by name, as the training loss gets them.
        u: Their coordinates, shape (h,).
        params: The parameters that the engine has for them.
        train_loss: L_T in the last row of the history up to here.
        valid_loss: L_V in the same row.
        third_loss: The loss on the third split, where one was given.
        step: Steps made to get here: fewer than all if the third split was best before.
        history: A row for each logged step.
        notes: What a reader must know before trusting it.
        tuner: The problem, the engine and the settings.
        state: State of the run.
    """

    hyper: Mapping[str, Any]
    u: Float[Array, " hyper"]
    params: PyTree
    train_loss: float
    valid_loss: float
    third_loss: float | None
    step: int
    history: pd.DataFrame
    notes: tuple[str, ...]
    tuner: Tuner
    state: TuneState

    @property
    def schedule(self) -> Schedule:
        """Where the hyperparameters were, up to here; `replay` trains along it."""
        every = self.tuner.schedule_every
        n_kept = 1 + self.step // every
        steps = every * np.arange(n_kept)
        rows = np.asarray(self.state.schedule)[:n_kept]
        if steps[-1] < self.step:
            steps, rows = np.append(steps, self.step), np.vstack([rows, np.asarray(self.u)])
        return Schedule(steps, rows, self.tuner.problem.space.labels())

    def table(self) -> pd.DataFrame:
        """A row for each hyperparameter: entries, smallest, middle and largest value, entries at a bound."""
        return self.tuner.problem.space.table(self.u)

    def plot(self, axes: Axes) -> Axes:
        """How the hyperparameters moved: each coordinate's line, or the spread of many."""
        schedule = self.schedule
        for name, part in self.tuner.problem.space.parts.items():
            own = np.asarray(part.real.from_line(part.of(schedule.coordinates.T).T))
            if own.shape[1] <= SHOWN:
                lines = axes.plot(schedule.steps, own)
                lines[0].set_label(name)
            else:
                low, middle, high = np.quantile(own, [0.1, 0.5, 0.9], axis=1)
                (line,) = axes.plot(
                    schedule.steps, middle, label=f"{name} (middle, and where 80 % of {part.size} are)"
                )
                axes.fill_between(schedule.steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        if any(part.real.log for part in self.tuner.problem.space.parts.values()):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel("hyperparameter")
        axes.legend(frameon=False)
        return axes

    def save(self, path: str | Path) -> None:
        """Writes hyperparameters (`.npz`), schedule, history (CSV) and notes into a folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self.schedule.save(folder / "schedule.npz")
        self.history.to_csv(folder / "history.csv", index=False)
        rows = {"hyperparameter": self.tuner.problem.space.labels(), "value": self.flat_values()}
        pd.DataFrame(rows).to_csv(folder / "hyperparameters.csv", index=False)

    def flat_values(self) -> Float[np.ndarray, " hyper"]:
        """One value for each coordinate, in their order."""
        parts = self.tuner.problem.space.parts.values()
        return np.concatenate([np.asarray(part.real.from_line(part.of(self.u))) for part in parts])
