"""Agreement with Hamiltonian Monte Carlo on where a network is uncertain (Zhang et al. 2018, section 5.2)."""

from dataclasses import dataclass

METHODS = ("noisy-kfac", "noisy-ekfac", "noisy-adam", "noisy-full", "bayes-by-backprop", "mc-dropout")


@dataclass(frozen=True)
class Config:
    """One split of a table, one hidden layer, draws by NUTS and what is compared with them."""

    data: str = "yacht"
    """Name of a regression table, such as boston-housing or energy; `backthrough data list` has them all."""
    split: int = 0
    """Which of its standard splits, from 0."""
    n_hidden: int = 50
    """Hidden units; noisy-full is for a few, such as 10."""
    methods: tuple[str, ...] = ("noisy-kfac", "noisy-adam")
    """Which of noisy-kfac, noisy-ekfac, noisy-adam, noisy-full, bayes-by-backprop and mc-dropout."""
    n_starts: int = 3
    """Initialisations of each method, all trained at once; correlations are means over them."""
    n_epochs: int = 400
    """Passes over the training rows."""
    batch_size: int = 10
    """Rows in a minibatch."""
    learning_rates: tuple[float, ...] = (1e-2, 3e-3)
    """Of bayes-by-backprop and mc-dropout; the best on a tenth of the TRAINING rows, held out, is taken."""
    n_chains: int = 4
    """Markov chains."""
    n_warmup: int = 500
    """Steps of each chain that are thrown away."""
    n_samples: int = 500
    """Draws of each chain that are kept; energy needs 750 of either to converge, boston-housing 1000."""
    thinning: int = 1
    """Steps from one draw to the next; 2 for energy, 3 for boston-housing."""
    max_tree_depth: int = 8
    """A step of a chain makes at most 2 to the power of this leapfrog steps."""
    n_draws: int = 2000
    """Draws of the weights behind each variance."""
    seed: int = 0
    """Determines weights, order and draws."""


SCALES = {
    "quick": Config(n_epochs=150),
    "full": Config(methods=("noisy-kfac", "noisy-ekfac", "noisy-adam", "bayes-by-backprop", "mc-dropout")),
}
DEMO = None
