"""The density of the rows of a table, by a continuous normalising flow."""

from backthrough.density.evaluation import compare_with_gaussian, headline, plot_columns
from backthrough.density.flow_density import FlowDensity, split_rows
from backthrough.density.training import draw_rows, log_density, solver_error, train_field

__all__ = [
    "FlowDensity",
    "compare_with_gaussian",
    "draw_rows",
    "headline",
    "log_density",
    "plot_columns",
    "solver_error",
    "split_rows",
    "train_field",
]
