"""A public variational auto-encoder with fixed weights, on which estimates of log p(x) are compared."""

import json
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.datasets import load
from backthrough.latent import (
    ELBO,
    Annealing,
    BernoulliModel,
    GaussianEncoder,
    annealed_log_p,
    bdmc,
    elbo,
    evaluate_bound,
    importance_log_p,
    inference_gaps,
    iwae,
    local_bound,
    optimise_posteriors,
    simulate,
)

N_IMAGES = 100
LATENT_SIZE = 50
SEEDS = (0, 1, 2)


class Yardstick(NamedTuple):
    """The auto-encoder, and 100 shuffled test images of binarized-mnist, shape (100, 784)."""

    model: BernoulliModel
    encoder: GaussianEncoder
    x: np.ndarray


def load_yardstick() -> Yardstick:
    """Encoder 784-200-200-2*50 and decoder 50-200-200-784 with ELU; weights and images are data sets."""
    weights = dict(load("bdmc-vae-mnist").arrays)
    for name in ("fc3_weight", "fc3_bias"):  # log variances; ours are log standard deviations
        weights[name] = np.concatenate([weights[name][:LATENT_SIZE], 0.5 * weights[name][LATENT_SIZE:]])
    images = load("binarized-mnist").test
    images = images[np.random.default_rng(0).permutation(len(images))[:N_IMAGES]]
    encoder = GaussianEncoder(_network(weights, ("fc1", "fc2", "fc3")), jnp.zeros(images.shape[1]))
    decoder = _network(weights, ("fc4", "fc5", "fc6"))
    return Yardstick(BernoulliModel(decoder, LATENT_SIZE), encoder, images)


def _network(weights: dict, names: tuple[str, ...]) -> eqx.nn.Sequential:
    layers = []
    for name in names:
        weight, bias = jnp.asarray(weights[f"{name}_weight"]), jnp.asarray(weights[f"{name}_bias"])
        layer = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=jax.random.key(0))
        layers.append(eqx.tree_at(lambda own: (own.weight, own.bias), layer, (weight, bias)))
        layers.append(eqx.nn.Lambda(jax.nn.elu))
    return eqx.nn.Sequential(layers[:-1])


def measure() -> dict[str, dict]:
    """Every figure for three keys: its mean, spread over keys, and what a reader should know."""
    model, encoder, x = load_yardstick()
    found = {}
    for seed in SEEDS:
        for name, value in _with_key(model, encoder, x, jax.random.key(seed)).items():
            found.setdefault(name, []).append(value)
        print({name: round(values[-1], 3) for name, values in found.items()}, flush=True)
    rows = {}
    for name, values in found.items():
        digits = 1 if name.endswith("seconds") else 3
        rows[name] = {
            "ours": round(float(np.mean(values)), digits),
            "spread": round(float(np.std(values, ddof=1)), digits),
        }
    by_agree = rows["latent.logp-agree"]
    by_agree["note"] = (
        "Annealing less importance sampling with 500 draws, which is too small by a few hundredths."
    )
    rows["latent.bdmc"]["note"] = (
        f"Mean over keys of the mean width of 20 points; over all {20 * len(SEEDS)} it is "
        f"{np.mean(found['latent.bdmc']):.3f} +- {np.mean(found['error of bdmc']) / np.sqrt(len(SEEDS)):.3f} "
        "(standard error over points): single widths may be negative."
    )
    del rows["error of bdmc"]
    return rows


def _with_key(model, encoder, x, key) -> dict[str, float]:
    keys = jax.random.split(key, 9)
    began = time.monotonic()
    best = optimise_posteriors(model, encoder, x, key=keys[0]).posteriors
    seconds = time.monotonic() - began
    elbo_of_q = evaluate_bound(elbo, model, encoder, x, key=keys[1], n_samples=5000)
    elbo_of_best = np.asarray(local_bound(model, best, x, key=keys[2], objective=ELBO(5000)))
    weighted = evaluate_bound(iwae, model, encoder, x, key=keys[3], n_samples=5000)
    importance = importance_log_p(model, best, x, key=keys[4], n_samples=500).log_p
    annealed = annealed_log_p(model, encoder, x, key=keys[5]).log_p
    gaps = inference_gaps(model, encoder, x, key=keys[6])
    simulated = simulate(model, 20, key=keys[7])
    width = bdmc(model, simulated, encoder, key=keys[8], annealing=Annealing(100)).width
    return {
        "latent.elbo": elbo_of_q.mean(),
        "latent.iwae5000": weighted.mean(),
        "latent.local-q": elbo_of_best.mean(),
        "latent.local-q-seconds": seconds,
        "latent.local-q-least": (elbo_of_best - elbo_of_q).min(),
        "latent.logp-is": importance.mean(),
        "latent.logp-ais": annealed.mean(),
        "latent.logp-agree": annealed.mean() - importance.mean(),
        "latent.gaps": gaps.inference.mean(),
        "latent.gaps-approximation": gaps.approximation.mean(),
        "latent.gaps-amortization": gaps.amortization.mean(),
        "latent.ais-budget": annealed[:20].mean(),
        "latent.bdmc": width.mean(),
        "error of bdmc": width.std(ddof=1) / np.sqrt(len(width)),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
