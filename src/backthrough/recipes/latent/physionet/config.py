"""ODE-RNN, latent ODE and a GRU on stays in intensive care (Rubanova et al. 2019; PhysioNet 2012)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Set A only; scaled by the stays that are trained on; each fold is held out in turn."""

    task: Literal["mortality", "interpolation", "extrapolation"] = "mortality"
    """Death in the hospital; or values at times within what is seen; or the values of the second day."""
    models: tuple[str, ...] = ()
    """Of ode-rnn, latent-ode, gru (mortality) or latent-ode, latent-ode-rnn, rnn-vae (values); or all."""
    bin_hours: float = 1.0
    """Times are rounded to a multiple of this; 0.1 in the paper's code."""
    seen: float = 1.0
    """Share of the times that interpolation sees, to find the others; with 1 it sees what it finds."""
    inputs: Literal["range", "spread"] = "spread"
    """Encoders see values as parts of their range (the paper's), or less the median, by their spread."""
    folds: int = 5
    """Stratified parts of the stays."""
    n_folds_run: int = 5
    """How many of them are held out in turn."""
    n_steps: int = 600
    """Steps of Adam for each model and fold; the state with the best validation loss is kept."""
    batch_size: int = 50
    """Stays in a batch."""
    learning_rate: float = 2e-3
    """The largest; it falls along half a cosine."""
    latent_size: int = 20
    """Latent dimensions."""
    hidden_size: int = 40
    """Width of the recurrent state."""
    width: int = 50
    """Width of vector fields, decoder and classifier."""
    solver: Literal["euler", "midpoint", "rk4"] = "euler"
    """Fixed steps of the recurrent state and of the latent one."""
    solver_steps: int = 1
    """So many from one time to the next."""
    label_weight: float = 100.0
    """Of the label's cross-entropy beside the ELBO of one value, for latent models."""
    seed: int = 0
    """Determines folds, weights, order and draws."""


SCALES = {
    "quick": Config(bin_hours=2.0, n_folds_run=1, n_steps=400),
    "full": Config(bin_hours=0.1, n_steps=2000, solver="rk4"),
}
DEMO = None  # the data do not come with the package
