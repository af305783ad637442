"""Forecasts of a user's own series as a scikit-learn-style estimator."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, no_type_check

import jax
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from backthrough.core import ArgumentError, DataError, check_integer, check_positive, seed_of
from backthrough.datasets import SeriesTable
from backthrough.forecast.evaluation import Evaluation, naive_forecasts
from backthrough.forecast.frames import check_observed, series_of, shown_times
from backthrough.forecast.model import Networks, build_networks
from backthrough.forecast.training import Bands, predict_windows, train_networks
from backthrough.forecast.windows import (
    Scale,
    Window,
    choose_sizes,
    cut_windows,
    last_windows,
    measure_scale,
    next_windows,
    stack_windows,
)
from backthrough.train import Run, arrays_of, load_model, save_model, with_arrays

BAND = 0.8


class Forecaster(BaseEstimator):
    """Continues irregular series with gaps by a latent ODE (Chen et al. 2018, section 5).

    All windows of the series, some rows of context and the rows that come after them, are examples: a
    recurrent network reads the context, a latent ODE continues it.

    Args:
        horizon: Rows that are forecast; a tenth of the shortest series by default (0), at most 50.
        context: Rows that a forecast sees; three horizons by default (0), or what there is.
        n_steps: Steps of Adam.
        batch_size: Windows in a batch, at most.
        learning_rate: The largest; it falls along half a cosine.
        latent_size: Latent dimensions.
        hidden_size: Width of vector field, decoder and encoder.
        tolerance: Of the solver.
        n_draws: Draws behind means and bands.
        random_state: A seed, a `numpy.random.RandomState`, or None for a new seed at each fit.

    Attributes:
        table_: The series it was fitted to: what `predict` continues.
        columns_: Names of the columns that are forecast.
        horizon_: Rows that it has learned to forecast.
        context_: Rows that a forecast sees.
        n_windows_: Windows that it was trained on.
        weights_: Arrays of the networks.

    Examples:
        >>> import numpy as np
        >>> wave = np.sin(np.arange(40) / 3)
        >>> model = Forecaster(n_steps=2, latent_size=2, hidden_size=4, n_draws=5, random_state=0).fit(wave)
        >>> model.predict(horizon=3)["time"].tolist()
        [40.0, 41.0, 42.0]
    """

    @no_type_check  # as scikit-learn has it, fit checks the settings
    def __init__(
        self,
        *,
        horizon: int = 0,
        context: int = 0,
        n_steps: int = 1500,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        latent_size: int = 16,
        hidden_size: int = 32,
        tolerance: float = 1e-3,
        n_draws: int = 200,
        random_state: Any = None,
    ):
        self.horizon = horizon
        self.context = context
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.latent_size = latent_size
        self.hidden_size = hidden_size
        self.tolerance = tolerance
        self.n_draws = n_draws
        self.random_state = random_state

    def fit(
        self,
        table: Any,
        y: Any = None,
        *,
        time: str | None = None,
        series: str | None = None,
        columns: Sequence[str] = (),
        run: Run | None = None,
    ) -> "Forecaster":
        """Learns how the series go on.

        Args:
            table: A frame, an array of shape (time,) or (time, column) whose rows are one time unit apart, or
                a `SeriesTable` as `datasets.read_series` reads it. NaN is a missing value; none is filled in.
            y: Ignored, as scikit-learn has it.
            time: The column of times, numbers or dates; the index of the frame by default.
            series: The column that names the series of a row; without one all rows are one series.
            columns: The columns to forecast; all others when none is named.
            run: A run directory for metrics and checkpoints; with one, training can be stopped and resumed.

        Returns:
            The forecaster itself.

        Raises:
            ArgumentError: for a wrong setting, an unknown column, or series too short for what is asked.
            DataError: naming what is wrong with the table.
        """
        self._check_settings()
        found = series_of(table, time=time, series=series, columns=columns)
        check_observed(found)
        context, horizon = choose_sizes(found, self.context, self.horizon)
        windows = cut_windows(found, context, horizon)
        scale = measure_scale(windows, context)
        seed = seed_of(self.random_state)
        key = jax.random.key(seed)
        networks = train_networks(
            self._build(len(found.names), context, horizon, key=key),
            stack_windows(windows, scale, context),
            key=jax.random.split(key, 4)[3],  # the networks take the first three
            n_steps=self.n_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            batch_seed=seed,
            run=run,
        )
        self.weights_ = arrays_of(networks)
        self.table_, self.columns_, self.n_windows_ = found, list(found.names), len(windows)
        self.context_, self.horizon_ = context, horizon
        self.scale_ = {"level": scale.level, "spread": scale.spread, "length": scale.length}
        self.seed_ = seed
        return self

    def predict(self, horizon: int | None = None, table: Any = None) -> pd.DataFrame:
        """What comes after the end of each series.

        Args:
            horizon: Rows, a median gap apart; as many as it was trained to forecast by default. Beyond those
                it goes on, but has not learned to.
            table: Series to continue, of the columns it was fitted to, in the form that `fit` takes; those it
                was fitted to by default.

        Returns:
            A frame with the columns series (if there are several), time, and those that are forecast.
        """
        windows, bands, known = self.forecast(horizon, table)
        return self._wide(windows, known, {"": bands.mean})

    def predict_interval(
        self, horizon: int | None = None, table: Any = None, *, level: float = BAND
    ) -> pd.DataFrame:
        """The band in which each value lies with a probability of `level`, as the model has it.

        Args:
            horizon: As for `predict`.
            table: As for `predict`.
            level: Between 0 and 1.

        Returns:
            A frame like that of `predict`, with two columns "NAME low" and "NAME high" for each.
        """
        windows, bands, known = self.forecast(horizon, table, level=level)
        return self._wide(windows, known, {" low": bands.low, " high": bands.high})

    def score(self, table: Any, y: Any = None) -> float:
        """How good the forecast of the last rows of series is: 1 if perfect, 0 if as good as the last value.

        1 - (error / error of the last value)^2, the mean over columns; `evaluate` says more. For an honest
        score the rows must come after those it was fitted to.
        """
        return self.evaluate(table).skill()

    def evaluate(self, table: Any, *, level: float = BAND) -> Evaluation:
        """The last rows of each series, forecast from the rows before them, beside naive forecasts.

        Args:
            table: Series in the form that `fit` takes; of each the last rows, as many as it was trained to
                forecast, are compared. For honest errors they must come after those it was fitted to.
            level: Probability that the bands should hold.
        """
        check_is_fitted(self)
        found = self._series(table)
        windows = last_windows(found, self.context_, self.horizon_)
        bands = self._draw(windows, level)
        naive = naive_forecasts(windows, self._scale(), self.context_)
        return Evaluation(found, windows, bands, naive, level, self.context_)

    def forecast(
        self, horizon: int | None = None, table: Any = None, *, level: float = BAND
    ) -> tuple[list[Window], Bands, SeriesTable]:
        """What `predict` and `predict_interval` are made of: windows, means and bands, and the series."""
        check_is_fitted(self)
        n_rows = self.horizon_ if horizon is None else check_integer("horizon", horizon, minimum=1)
        known = self.table_ if table is None else self._series(table)
        if n_rows > self.horizon_:
            warnings.warn(
                f"a horizon of {n_rows} rows goes beyond the {self.horizon_} that it has learned: "
                "mean and band of the later ones rest on nothing",
                stacklevel=3,
            )
        windows = next_windows(known, self.context_, n_rows)
        return windows, self._draw(windows, level), known

    def save(self, path: str | Path) -> None:
        """Writes the fitted forecaster to one file, which `Forecaster.load` reads."""
        check_is_fitted(self)
        parameters = {**self.get_params(), "random_state": self.seed_}
        table = self.table_
        arrays = {f"weight {index}": array for index, array in enumerate(self.weights_)}
        for index, (times, values) in enumerate(zip(table.times, table.values, strict=True)):
            arrays |= {f"times {index}": times, f"values {index}": values}
        save_model(
            path,
            "Forecaster",
            settings={
                "parameters": parameters,
                "columns": list(table.names),
                "ids": list(table.ids),
                "dated": table.dated,
                "source": table.source,
                "time": table.time,
                "series": table.series,
                "zone": table.zone,
                "context": self.context_,
                "horizon": self.horizon_,
                "n_windows": self.n_windows_,
                "length": self.scale_["length"],
            },
            arrays={"level": self.scale_["level"], "spread": self.scale_["spread"], **arrays},
        )

    @classmethod
    def load(cls, path: str | Path) -> "Forecaster":
        """Reads a fitted forecaster that `save` wrote.

        Raises:
            DataError: naming the file that cannot be read, is damaged, or holds something else.
        """
        settings, arrays = load_model(path, "Forecaster")
        model = cls(**settings["parameters"])
        n_weights = sum(name.startswith("weight ") for name in arrays)
        model.weights_ = [arrays[f"weight {index}"] for index in range(n_weights)]
        model.table_ = SeriesTable(
            names=tuple(settings["columns"]),
            ids=tuple(settings["ids"]),
            times=tuple(arrays[f"times {index}"] for index in range(len(settings["ids"]))),
            values=tuple(arrays[f"values {index}"] for index in range(len(settings["ids"]))),
            dated=settings["dated"],
            source=settings["source"],
            time=settings["time"],
            series=settings["series"],
            zone=settings["zone"],
        )
        model.columns_, model.n_windows_ = settings["columns"], settings["n_windows"]
        model.context_, model.horizon_ = settings["context"], settings["horizon"]
        model.scale_ = {"level": arrays["level"], "spread": arrays["spread"], "length": settings["length"]}
        model.seed_ = settings["parameters"]["random_state"]
        return model

    def _build(self, n_channels: int, context: int, horizon: int, *, key: Any) -> Networks:
        return build_networks(
            n_channels,
            context,
            horizon,
            key=key,
            latent_size=self.latent_size,
            hidden_size=self.hidden_size,
            tolerance=self.tolerance,
        )

    def _networks(self) -> Networks:
        """The networks with the fitted weights."""
        sizes = (len(self.columns_), self.context_, self.horizon_)
        return with_arrays(lambda key: self._build(*sizes, key=key), self.weights_)

    def _scale(self) -> Scale:
        return Scale(**self.scale_)

    def _draw(self, windows: list[Window], level: float) -> Bands:
        if not 0 < level < 1:
            raise ArgumentError(f"level must lie between 0 and 1, got {level!r}")
        key = jax.random.key(self.seed_ + 1)
        return predict_windows(
            self._networks(), windows, self._scale(), key=key, n_draws=self.n_draws, level=level
        )

    def _series(self, table: Any) -> SeriesTable:
        """The series of another table, of the columns that the forecaster was fitted to."""
        if isinstance(table, pd.DataFrame):
            own = self.table_
            found = series_of(table, time=own.time or None, series=own.series or None, columns=self.columns_)
        else:
            found = series_of(table)

        def kind(table: SeriesTable) -> str:
            zoned = "dates in a time zone" if table.zone else "dates"
            return zoned if table.dated else "times that are numbers"

        if list(found.names) != self.columns_ or kind(found) != kind(self.table_):
            there, own = (f"{', '.join(one.names)} at {kind(one)}" for one in (found, self.table_))
            raise DataError(f"{found.source} holds {there}; the forecaster was fitted to {own}")
        check_observed(found)
        return found

    def _wide(self, windows: list[Window], known: SeriesTable, parts: dict[str, Any]) -> pd.DataFrame:
        frames = []
        for index, (name, window) in enumerate(zip(known.ids, windows, strict=True)):
            several = len(known.ids) > 1 or self.table_.series
            own: dict[str, Any] = {self.table_.series or "series": name} if several else {}
            own[self.table_.time or "time"] = shown_times(window.times[self.context_ :], known)
            for channel, column in enumerate(known.names):
                own |= {f"{column}{ending}": part[index, :, channel] for ending, part in parts.items()}
            frames.append(pd.DataFrame(own))
        return pd.concat(frames, ignore_index=True)

    def _check_settings(self) -> None:
        for name in ("n_steps", "batch_size", "latent_size", "hidden_size", "n_draws"):
            check_integer(name, getattr(self, name), minimum=1)
        for name in ("horizon", "context"):
            check_integer(name, getattr(self, name), minimum=0)
        for name in ("learning_rate", "tolerance"):
            check_positive(name, getattr(self, name))
