"""IWAE-500 of test digits after ten passes over fixed-binarised MNIST, trained with one weight and with five.

    python benchmarks/latent_training.py

The last line is JSON for the results table.
"""

import json
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax

from backthrough.datasets import load
from backthrough.latent import BernoulliModel, GaussianEncoder, bernoulli_vae, evaluate_bound, iwae
from backthrough.train import Batches, Number, fit, mean_number

PASSES, BATCH_SIZE, LEARNING_RATE, SEED = 10, 100, 1e-3, 0
N_TEST, N_SAMPLES = 1000, 500
ROWS = {"latent.training": 1, "latent.training-k5": 5}


class State(NamedTuple):
    """What training carries."""

    model: BernoulliModel
    encoder: GaussianEncoder
    optimiser: optax.OptState


def trained_bound(train: np.ndarray, test: np.ndarray, k: int) -> Number:
    """Trains with IWAE(k), which is the ELBO for k = 1, and measures IWAE-500."""
    init_key, fit_key, test_key = jax.random.split(jax.random.key(SEED), 3)
    model, encoder = bernoulli_vae(train.mean(0), latent_size=50, key=init_key)
    optimiser = optax.adam(LEARNING_RATE)
    memory = optimiser.init(eqx.filter((model, encoder), eqx.is_inexact_array))

    def step(state: State, batch: jax.Array, *, key: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        def loss(modules: tuple[BernoulliModel, GaussianEncoder]) -> jax.Array:
            return -iwae(*modules, batch, key=key, n_samples=k).mean()

        modules = (state.model, state.encoder)
        value, gradients = eqx.filter_value_and_grad(loss)(modules)
        updates, memory = optimiser.update(gradients, state.optimiser)
        model, encoder = eqx.apply_updates(modules, updates)
        return State(model, encoder, memory), {"bound (nats)": -value}

    fitted = fit(
        step,
        State(model, encoder, memory),
        Batches(train, BATCH_SIZE, seed=SEED),
        n_steps=PASSES * len(train) // BATCH_SIZE,
        key=fit_key,
        label=f"training, k = {k}",
    )
    state = fitted.state
    values = evaluate_bound(iwae, state.model, state.encoder, test, key=test_key, n_samples=N_SAMPLES)
    return mean_number(f"IWAE-{N_SAMPLES}", values, "nats", "fixed binarisation, shuffled test images")


def main() -> None:
    data = load("binarized-mnist")
    train = np.concatenate([data.train, data.valid]).astype(np.float32)
    test = data.test[np.random.default_rng(0).permutation(len(data.test))[:N_TEST]].astype(np.float32)
    rows = {}
    for name, k in ROWS.items():
        found = trained_bound(train, test, k)
        print(f"k = {k}: {found}", flush=True)
        note = (
            f"The spread is the standard error over the {N_TEST:,} images, with the file's own binarisation; "
            "one seed."
        )
        rows[name] = {"ours": found.value, "spread": found.standard_error, "note": note}
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
