"""Which measurements a forest's diagnoses rest on, columns filled in with and without their correlations."""

from dataclasses import dataclass

INFILLS = ("gaussian", "marginal")


@dataclass(frozen=True)
class Config:
    """A random forest on the breast cancer table of scikit-learn: ten measurements of three columns each."""

    infills: tuple[str, ...] = INFILLS
    """What stands where columns are hidden: gaussian (given the rest), marginal (another row's)."""
    n_trees: int = 50
    """Of the forest."""
    area_cost: float = 2.0
    """Log-odds that hiding (or keeping) all measurements costs."""
    n_draws: int = 4
    """Infills of each set that is tried."""
    n_rows: int = 16
    """Malignant test rows that are explained, of those that are told rightly; 0: all of them."""
    n_shown: int = 3
    """Rows whose bars are drawn: those of which the forest is least sure."""
    seed: int = 0
    """Determines split, forest and draws."""


SCALES = {"quick": Config(infills=("gaussian",)), "full": Config(n_rows=0, n_draws=16, n_trees=200)}
DEMO = None
