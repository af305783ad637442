"""The recipes there are. Importing this module imports none of them, so it is fast."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from backthrough.core import check_choice

if TYPE_CHECKING:
    from backthrough.train import Run


@runtime_checkable
class ConfigModule(Protocol):
    """What the `config.py` of every recipe defines, without heavy imports: wrong options are found at once.

    Attributes:
        Config: A frozen dataclass; the comment behind or below each field is its help text.
        SCALES: The configurations `"quick"` (bundled data, under a minute on two cores) and `"full"` (the
            paper's).
        DEMO: The demo's `Panel` (at most 20 seconds), or None.
    """

    Config: type
    SCALES: dict[str, Any]
    DEMO: Any


@runtime_checkable
class RecipeModule(Protocol):
    """What the `recipe.py` of every recipe defines."""

    def run(self, config: Any, run: "Run") -> None:
        """Does the experiment and writes its numbers and pictures into `run`."""
        ...


@dataclass(frozen=True)
class Recipe:
    """Name, folder (its first part is the room) and one-line summary of a recipe."""

    name: str
    folder: str
    summary: str

    @property
    def room(self) -> str:
        """The room whose method it shows."""
        return self.folder.partition(".")[0]

    def load_config(self) -> ConfigModule:
        """Imports the recipe's options."""
        return self._import("config")

    def load(self) -> RecipeModule:
        """Imports the recipe itself."""
        return self._import("recipe")

    def _import(self, part: str) -> Any:
        return importlib.import_module(f"backthrough.recipes.{self.folder}.{part}")


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "ode-lynx-hare", "ode.lynx_hare", "Lotka-Volterra dynamics fitted to the pelts of lynx and hare"
        ),
        Recipe(
            "ode-mnist",
            "ode.mnist",
            "An ODE-Net beside a residual network on digits, and what it costs",
        ),
        Recipe(
            "ode-tolerance", "ode.tolerance", "Error, evaluations and time of a solve against its tolerance"
        ),
        Recipe(
            "relax-toy",
            "estimators.relax_toy",
            "RELAX's toy problem: gradient estimators on one bit, many seeds at once",
        ),
        Recipe(
            "relax-dvae",
            "estimators.dvae",
            "A VAE with Bernoulli layers by several gradient estimators",
        ),
        Recipe(
            "cnf-2d",
            "flows.cnf_2d",
            "A continuous flow on points in the plane: density, draws, how it forms",
        ),
        Recipe(
            "hyper-global",
            "hyper.global_response",
            "The paper's global hypernetwork: the validation loss for every regulariser, beside refits",
        ),
        Recipe(
            "hyper-local",
            "hyper.local_response",
            "The paper's local hypernetwork: a response that follows the regulariser to its optimum",
        ),
        Recipe("hyper-10", "hyper.digits_10", "Ten regularisers, one a class, tuned in one training run"),
        Recipe("hyper-650", "hyper.digits_650", "650 regularisers, one a weight, tuned in one training run"),
        Recipe("hyper-7850", "hyper.mnist_7850", "7,850 regularisers of a linear model of MNIST"),
        Recipe(
            "hyper-width",
            "hyper.width",
            "Do larger hypernetworks come nearer to the best response, and to the optimum?",
        ),
        Recipe(
            "vae-mnist",
            "latent.vae_mnist",
            "A VAE on binarised digits: ELBO, IWAE bounds, samples, traversals",
        ),
        Recipe(
            "iwae-posterior",
            "latent.iwae_posterior",
            "The posterior that the importance-weighted bound trains, beside the true one and the encoder's",
        ),
        Recipe(
            "tcvae-dsprites",
            "latent.tcvae_dsprites",
            "Beta-TCVAE beside beta-VAE on sprites whose factors are known: MIG, ELBO, total correlation",
        ),
        Recipe(
            "tcvae-mnist",
            "latent.tcvae_mnist",
            "Beta-TCVAE beside beta-VAE on digits or your own pictures: traversals at equal ELBO",
        ),
        Recipe(
            "latent-ode-spirals",
            "latent.spirals",
            "A latent ODE beside an RNN on spirals seen at irregular times, continued beyond them",
        ),
        Recipe(
            "latent-ode-physionet",
            "latent.physionet",
            "ODE-RNN, latent ODE and a GRU on irregular series of intensive-care patients: mortality, values",
        ),
        Recipe(
            "inference-gaps",
            "latent.inference_gaps",
            "Which gap is it: factorised and flow posteriors, and encoders of several sizes",
        ),
        Recipe(
            "decoder-accommodates",
            "latent.decoder_accommodates",
            "Factorised and flow posteriors on decoders that were trained with either",
        ),
        Recipe(
            "expressiveness-generalises",
            "latent.expressiveness_generalises",
            "A factorised and a flow encoder for one decoder, on training and held-out images",
        ),
        Recipe(
            "fido-cells",
            "explain.fido_cells",
            "Which part of a photograph makes a classifier see a white cell, with several infills",
        ),
        Recipe(
            "fido-digits",
            "explain.fido_digits",
            "Which part of a scene makes a classifier see one digit among others, with the exact masks",
        ),
        Recipe(
            "fido-splice",
            "explain.fido_splice",
            "Which letters of a splice junction a classifier's answer rests on: are GT and AG among them?",
        ),
        Recipe(
            "fido-table",
            "explain.fido_table",
            "Which measurements a forest's diagnoses rest on, filled in with and without correlations",
        ),
        Recipe(
            "error-bars",
            "regress.error_bars",
            "Bands around a curve by several methods, and whether a table's intervals hold what they promise",
        ),
        Recipe(
            "uci-regression",
            "natgrad.uci_regression",
            "Noisy natural gradients and what they are compared with, on the standard splits of UCI tables",
        ),
        Recipe(
            "hmc-agreement",
            "natgrad.hmc_agreement",
            "Where posteriors over weights and Hamiltonian Monte Carlo find a network uncertain",
        ),
        Recipe(
            "active-learning",
            "natgrad.active_learning",
            "Rows labelled one at a time, where the network is most uncertain or at random",
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ArgumentError: naming the nearest recipe.
    """
    return RECIPES[check_choice("recipe", name, RECIPES)]
