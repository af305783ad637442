"""Time of a gradient on three Bernoulli variables: storchastic (torch) against ours, jitted.

    python benchmarks/estimators_vs_storchastic.py [--torch-python PATH]

PATH is the Python of an environment with the extra `bench-torch`, .venv-torch/bin/python by default.
storchastic runs there, in a process of its own on one thread, and rounds are interleaved. The last line is
JSON for the results table.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from backthrough.estimators import ARM, REBAR, RELAX, LeaveOneOut, ScoreFunction, expect

LOGITS = [0.5, -1.0, 0.3]  # those of storchastic_gradients.py
ROUNDS, PER_ROUND = 15, 20
REBAR_DRAWS, BATCH = 1500, 1000
OURS = {
    "ScoreFunction": (ScoreFunction(), 1),
    "LeaveOneOut": (LeaveOneOut(), 2),
    "ARM": (ARM(), 2),
    # as storchastic's: no relaxed f, and a network of 50 units
    "RELAX": (RELAX(eqx.nn.MLP(3, "scalar", 50, 1, key=jax.random.key(0))), 1),
    "REBAR": (REBAR(), 1),
}


def f(b):
    return jnp.sum((b - 0.45) ** 2) + b[0] * b[1]


def exact() -> np.ndarray:
    """The gradient in closed form."""
    p = 1 / (1 + np.exp(-np.array(LOGITS)))
    slope = np.full(3, 1 - 2 * 0.45) + np.array([p[1], p[0], 0.0])
    return p * (1 - p) * slope


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch-python", default=".venv-torch/bin/python", help="has torch and storchastic")
    interpreter = parser.parse_args().torch_python
    if shutil.which(interpreter) is None:
        print(f"there is no {interpreter}: install the extra bench-torch and give --torch-python")
        return
    script = Path(__file__).parent / "peers" / "storchastic_gradients.py"
    peer = subprocess.Popen(
        [interpreter, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert peer.stdin is not None
    assert peer.stdout is not None
    asking, answering = peer.stdin, peer.stdout

    def theirs(name: str, n: int) -> dict:
        asking.write(json.dumps({"estimator": name, "n": n}) + "\n")
        asking.flush()
        return json.loads(answering.readline())

    keys = jax.random.split(jax.random.key(0), PER_ROUND)
    ratios, milliseconds, batched = {}, {}, {}
    for name, (estimator, n) in OURS.items():
        arrays, rest = eqx.partition((jnp.array(LOGITS), estimator), eqx.is_inexact_array)
        leaves, structure = jax.tree_util.tree_flatten(arrays)

        @jax.jit
        def gradient(leaves, key, n=n, rest=rest, structure=structure):
            """Of the logits, and of the control variate as storchastic's."""

            def mean(leaves):
                logits, own = eqx.combine(jax.tree_util.tree_unflatten(structure, leaves), rest)
                return expect(f, dist.Bernoulli(logits=logits), key=key, estimator=own, n_samples=n)

            return jax.grad(mean)(leaves)

        jax.block_until_ready(gradient(leaves, keys[0]))
        theirs(name, 5)
        rounds = []
        for _ in range(ROUNDS):
            other = statistics.median(theirs(name, PER_ROUND)["seconds"])
            taken = []
            for key in keys:
                started = time.perf_counter()
                jax.block_until_ready(gradient(leaves, key))
                taken.append(time.perf_counter() - started)
            rounds.append((other, statistics.median(taken)))
        ratios[name] = statistics.median(a / b for a, b in rounds)
        milliseconds[name] = [1e3 * statistics.median(column) for column in zip(*rounds, strict=True)]
        batch = jax.jit(jax.vmap(gradient, (None, 0)))
        many = jax.random.split(jax.random.key(1), BATCH)
        jax.block_until_ready(batch(leaves, many))
        started = time.perf_counter()
        jax.block_until_ready(batch(leaves, many))
        batched[name] = 1e6 * (time.perf_counter() - started) / BATCH
        print(f"{name:<14} {milliseconds[name][0]:.2f} ms against {milliseconds[name][1]:.4f} ms", flush=True)
    sample = np.array(theirs("REBAR", REBAR_DRAWS)["gradients"])
    z = np.abs((sample.mean(0) - exact()) / (sample.std(0) / np.sqrt(REBAR_DRAWS))).max()
    asking.write("\n")
    asking.close()
    peer.wait()
    same = {name: ratio for name, ratio in ratios.items() if name != "REBAR"}
    least = min(same, key=lambda name: same[name])
    every = "; ".join(f"{name} {a:.2f} against {b:.4f} ms" for name, (a, b) in milliseconds.items())
    together = ", ".join(f"{name} {own:.2f}" for name, own in batched.items())
    rows = {
        "estimators.speed": {
            "ours": same[least],
            "peer": {"name": f"storchastic, {least}, ms", "value": milliseconds[least][0]},
            "note": f"{every}. In a batch of {BATCH:,} ours take {together} microseconds each. Alone, "
            "RELAX is bound by the launches of thirty small kernels. Storchastic's REBAR does not count: "
            f"its mean is off by |z| = {z:.1f}.",
        },
        "estimators.7": {
            "ours": ratios["RELAX"],
            "peer": {"name": "storchastic, RELAX, ms", "value": milliseconds["RELAX"][0]},
        },
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
