"""Seconds of a step of each noisy natural gradient, beside the bare cost of the network evaluations.

    python benchmarks/natgrad_step.py

A network of 50 units on 13 features, batches of 10, 10 draws of the weights, eigendecompositions every 10
steps; steps run in a scan of 500, rounds are interleaved, medians are compared. The floor is one forward and
backward pass of the same 10 networks on the same batch, without any update. Then 20 splits of boston-housing
are trained together for 200 epochs. The last line is JSON for the results table.
"""

import json
import logging
import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.datasets import load
from backthrough.natgrad import (
    BayesByBackprop,
    GammaNoise,
    Gaussian,
    NoisyAdam,
    NoisyEKFAC,
    NoisyKFAC,
    Problem,
)
from backthrough.natgrad.fitted import call_model
from backthrough.recipes.natgrad.splits import fit_splits, standardised_splits

N_FEATURES, N_UNITS, BATCH, DRAWS, STEPS, ROUNDS = 13, 50, 10, 10, 500, 9
LIKELIHOOD = Gaussian(GammaNoise(6.0, 6.0))


def network(key):
    return eqx.nn.MLP(N_FEATURES, 1, N_UNITS, 1, key=key)


def training_loop(method):
    """A function that makes `STEPS` steps."""
    model = network(jax.random.key(0))
    problem = Problem(model, LIKELIHOOD, call_model, 455, 1.0, 1.0, jnp.ones(N_FEATURES))
    training = method.training(problem, 10_000)
    state = training.init(model, key=jax.random.key(1))
    arrays, static = eqx.partition(state, eqx.is_array)

    @jax.jit
    def loop(arrays, x, y):
        def step(arrays, key):
            state, metrics = training.step(eqx.combine(arrays, static), (x, y), key=key)
            return eqx.filter(state, eqx.is_array), metrics

        return jax.lax.scan(step, arrays, jax.random.split(jax.random.key(2), STEPS))[0]

    return lambda x, y: loop(arrays, x, y)


def floor_loop():
    """The same for forward and backward passes of ten networks, whose gradients are added up."""
    models = eqx.filter_vmap(network)(jax.random.split(jax.random.key(0), DRAWS))
    arrays, static = eqx.partition(models, eqx.is_array)

    @jax.jit
    def loop(arrays, x, y):
        def loss(arrays, precision):
            def one(own):
                outputs = jax.vmap(eqx.combine(own, static))(x)
                each = jax.vmap(LIKELIHOOD.log_prob, (0, 0, None))(outputs, y, precision)
                return -jnp.mean(each)

            return jnp.mean(jax.vmap(one)(arrays))

        def step(arrays, _):
            gradient = jax.grad(loss)(arrays, jnp.ones(1))
            return jax.tree_util.tree_map(lambda a, g: a - 1e-3 * g, arrays, gradient), None

        return jax.lax.scan(step, arrays, length=STEPS)[0]

    return lambda x, y: loop(arrays, x, y)


class CountedCompilations(logging.Handler):
    """The names of the programs that JAX compiles."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Notes the name of a program."""
        message = record.getMessage()
        if message.startswith("Compiling "):
            self.names.append(message.split()[1])


def boston() -> tuple[float, int]:
    """Seconds for 20 splits and 200 epochs, and how often the training's loop was compiled."""
    table = load("boston-housing")
    splits = standardised_splits(table, 20)
    counted = CountedCompilations()
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(counted)
    logger.propagate = False
    started = time.monotonic()
    with jax.log_compiles():
        fit_splits(
            network,
            LIKELIHOOD,
            splits,
            method=NoisyKFAC(),
            n_epochs=200,
            batch_size=10,
            key=jax.random.key(0),
        )
    seconds = time.monotonic() - started
    logger.removeHandler(counted)
    print("compiled:", sorted(set(counted.names)))
    return seconds, sum("dispatch" in name or "advance" in name for name in counted.names)


def main() -> None:
    loops = {
        "floor": floor_loop(),
        "noisy Adam": training_loop(NoisyAdam()),
        "noisy K-FAC": training_loop(NoisyKFAC()),
        "noisy EK-FAC": training_loop(NoisyEKFAC(refresh_every=10)),
        "Bayes by backprop": training_loop(BayesByBackprop()),
    }
    x = jax.random.normal(jax.random.key(3), (BATCH, N_FEATURES))
    y = jnp.sum(x[:, :2], axis=1, keepdims=True)
    seconds = {name: [] for name in loops}
    for repetition in range(ROUNDS + 1):
        for name, loop in loops.items():
            started = time.perf_counter()
            jax.block_until_ready(loop(x, y))
            if repetition:  # the first compiles
                seconds[name].append((time.perf_counter() - started) / STEPS)
    median = {name: statistics.median(own) for name, own in seconds.items()}
    for name, own in median.items():
        print(f"{name}: {1e6 * own:.0f} us a step, {own / median['floor']:.2f} floors")
    note = ", ".join(f"{name} {1e6 * own:.0f} us" for name, own in median.items())
    boston_seconds, compiled = boston()
    print(
        json.dumps(
            {
                "natgrad.6-step": {
                    "ours": round(median["noisy K-FAC"] / median["noisy Adam"], 3),
                    "note": f"{note}.",
                },
                "natgrad.6-floor": {
                    "ours": round(median["noisy K-FAC"] / median["floor"], 3),
                    "note": "The floor is one backward pass; the exact Fisher information takes a second.",
                },
                "natgrad.6-boston": {"ours": round(boston_seconds, 1)},
                "natgrad.6-compiles": {"ours": compiled},
            }
        )
    )


if __name__ == "__main__":
    main()
