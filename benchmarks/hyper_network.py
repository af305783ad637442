"""A regulariser for each of the 89,610 weights of a 784-100-100-10 network on MNIST (the paper's exp. 3).

    python benchmarks/hyper_network.py [--data mnist] [--n-train N] [--n-steps N] [--engine elementwise]

Meant for a GPU; a few steps run anywhere. The paper has a validation error of .0130 by hand and .0105 by its
hypernetwork (read off a figure). The last line is JSON for the results table.
"""

import argparse
import json
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.hyper import Elementwise, HyperSpace, LocalHypernet, Real, Unroll, tune, weighted_l2
from backthrough.recipes.hyper.ridge import mnist
from backthrough.train import Batches

ENGINES = {"elementwise": LocalHypernet(Elementwise(), 1e-3), "unroll": Unroll(5, 1e-3)}


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", help="mnist or mnist-small")
    parser.add_argument("--n-train", type=int, default=50_000)
    parser.add_argument("--n-valid", type=int, default=10_000)
    parser.add_argument("--n-steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--engine", choices=ENGINES, default="elementwise")
    options = parser.parse_args()
    pictures = mnist(options.n_train, name=options.data, n_valid=options.n_valid)
    network = eqx.nn.MLP(784, 10, 100, 2, key=jax.random.key(0))

    def error(network: Any, batch: Any) -> Any:
        x, y = batch
        return jnp.mean(jnp.square(jax.vmap(network)(x[:, :-1]) - y))  # without the column of ones

    def train_loss(network: Any, hyper: Any, batch: Any) -> Any:
        return error(network, batch) + weighted_l2(network, hyper["decay"])

    started = time.perf_counter()
    found = tune(
        train_loss,
        error,
        network,
        HyperSpace(decay=Real(1e-9, 1.0, log=True, per="weight", initial=1e-6)),
        engine=ENGINES[options.engine],
        n_steps=options.n_steps,
        key=jax.random.key(1),
        train_batches=Batches((pictures.train.x, pictures.train.y), options.batch_size, seed=0),
        valid_batches=Batches((pictures.valid.x, pictures.valid.y), options.batch_size, seed=1),
    )
    seconds = time.perf_counter() - started
    valid, test = (float(error(found.params, (part.x, part.y))) for part in (pictures.valid, pictures.test))
    print(f"{options.engine}: validation {valid:.5f}, test {test:.5f}, {seconds:.0f} s; {found.notes}")
    note = f"Test {test:.4f}, {seconds:.0f} s, {jax.devices()[0].device_kind}."
    print(json.dumps({"hyper.gpu": {"ours": valid, "note": note}}))


if __name__ == "__main__":
    main()
