"""How irregular, gappy series go on, by a latent ODE."""

from backthrough.forecast.evaluation import Evaluation, naive_forecasts
from backthrough.forecast.forecaster import Forecaster
from backthrough.forecast.frames import series_of, shown_times
from backthrough.forecast.model import Networks, build_networks
from backthrough.forecast.training import Bands, predict_windows, train_networks
from backthrough.forecast.windows import (
    Scale,
    Window,
    before_the_last,
    choose_sizes,
    cut_windows,
    last_windows,
    measure_scale,
    next_windows,
    stack_windows,
)

__all__ = [
    "Bands",
    "Evaluation",
    "Forecaster",
    "Networks",
    "Scale",
    "Window",
    "before_the_last",
    "build_networks",
    "choose_sizes",
    "cut_windows",
    "last_windows",
    "measure_scale",
    "naive_forecasts",
    "next_windows",
    "predict_windows",
    "series_of",
    "shown_times",
    "stack_windows",
    "train_networks",
]
