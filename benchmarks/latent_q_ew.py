"""Whether L_k <= L[q_EW] <= log p(x) holds, and by how much, on a public VAE and on one with two latents.

    python benchmarks/latent_q_ew.py

Margins are means over images of differences from the same draws, in units of their standard errors. On the
two latents log p(x) is computed by quadrature, on the public VAE by annealing, which is a little too low. The
last line is JSON for the results table.
"""

import json
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from backthrough.latent import Annealing, annealed_log_p
from backthrough.recipes.digits import load_digits
from backthrough.recipes.latent.iwae_posterior.config import Config
from backthrough.recipes.latent.iwae_posterior.measures import BoundAndSides, bound_and_sides
from backthrough.recipes.latent.iwae_posterior.quadrature import log_evidence, log_joint, square_grid
from backthrough.recipes.latent.iwae_posterior.recipe import REACH, held_out, train
from backthrough.train import Run, mean_number, with_error
from latent_yardstick import load_yardstick

K_YARDSTICK, N_DRAWS, N_SETS = 10, 10, 50
ANNEALED = 300  # temperatures


def margins(values: BoundAndSides, log_p: np.ndarray) -> dict[str, np.ndarray]:
    """Differences of neighbours for each image; their expectations are at least zero."""
    return {
        "L_k to lower": values.lower - values.bound,
        "lower to upper": values.upper - values.lower,
        "lower to log p": log_p - values.lower,
    }


def main() -> None:
    yardstick = load_yardstick()
    config = Config()
    first = bound_and_sides(
        yardstick.model,
        yardstick.encoder,
        yardstick.x.astype(np.float32),
        k=K_YARDSTICK,
        n_draws=N_DRAWS,
        n_sets=N_SETS,
        key=jax.random.key(0),
    )
    annealed = annealed_log_p(*yardstick, key=jax.random.key(2), annealing=Annealing(ANNEALED))
    digits = load_digits(config.data, seed=config.seed)
    test = held_out(digits, config.n_test)
    with tempfile.TemporaryDirectory() as folder:
        model, encoder = train(config, Run(folder), digits, test, key=jax.random.key(config.seed))
    second = bound_and_sides(
        model, encoder, test, k=config.k, n_draws=N_DRAWS, n_sets=N_SETS // 2, key=jax.random.key(1)
    )
    grid = square_grid(REACH, config.grid_size)
    evidence = log_evidence(np.asarray(log_joint(model, jnp.asarray(test), jnp.asarray(grid.points))), grid)

    standardised, notes = {}, []
    for name, k, values, log_p in (
        ("50 latents", K_YARDSTICK, first, annealed.log_p),
        ("2 latents", config.k, second, evidence),
    ):
        told = [f"{part} {values_of.mean():.2f}" for part, values_of in values._asdict().items()]
        told.append(f"log p {log_p.mean():.2f}")
        for pair, difference in margins(values, log_p).items():
            own = mean_number(pair, difference, "nats", "")
            assert own.standard_error is not None
            standardised[f"{name}, {pair}"] = own.value / own.standard_error
            told.append(f"{pair} {with_error(own.value, own.standard_error)}")
        notes.append(f"{name}, k = {k}, {len(values.bound)} images (nats): {', '.join(told)}")
        print(notes[-1], flush=True)
    least = min(standardised, key=lambda name: standardised[name])
    note = f"{'. '.join(notes)}. The least margin is {least}; images are binarised once."
    print(json.dumps({"latent.q-ew": {"ours": standardised[least], "note": note}}))


if __name__ == "__main__":
    main()
