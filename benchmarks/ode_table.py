"""The whole table of solvers: ours, diffrax, jax.experimental.ode, torchdiffeq and torchode, and the floor.

    python benchmarks/ode_table.py [--torch-python PATH]

PATH is the Python of an environment with the extra `bench-torch`; without it the torch peers are left out.
Times are process CPU milliseconds, the median of interleaved rounds, the torch peers in their own process.
The floor is the bare cost of our solve's evaluations of the field, one after the other, and for a gradient
that of the evaluations with their pull-backs. All run on one core, see ode_vs_peers.py. Prints a table;
"fails" marks a result that is not finite.
"""

import os

os.environ["EQX_ON_ERROR"] = "nan"  # diffrax reports errors so, its cheapest way

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.ode import odeint as experimental

from backthrough import ode
from ode_vs_peers import (
    MANY,
    apply,
    bare,
    evaluations,
    lotka_volterra,
    network,
    ours,
    theirs,
    van_der_pol,
    van_der_pols,
)

ROUNDS = 5
PROBLEMS: dict = {}


def problem(name):
    """Registers what makes a problem: (arguments, functions of them by name, torch's name and arrays)."""

    def keep(make):
        PROBLEMS[name] = make
        return make

    return keep


def jaxs(field, y0, end, args, tolerance, ts=None):
    """jax.experimental.ode."""
    times = jnp.array([0.0, end]) if ts is None else ts
    return experimental(lambda y, t, args: field(t, y, args), y0, times, args, rtol=tolerance, atol=tolerance)


def lotka(ts, gradient):
    y0, rates = jnp.array([1.0, 1.0]), tuple(map(jnp.float32, (1.5, 1.0, 3.0, 1.0)))

    def end(solve, **options):
        total = lambda rates: jnp.sum(solve(lotka_volterra, y0, 10.0, rates, 1e-6, ts=ts, **options)[-1])  # noqa: E731
        return jax.grad(total) if gradient else total

    n = evaluations(lotka_volterra, y0, 10.0, rates, 1e-6)
    floor = bare(lotka_volterra, n, gradient)
    functions = {
        "ours": end(ours),
        "diffrax": end(theirs),
        "diffrax, max_steps=256": end(theirs, max_steps=256),
        "jax.experimental.ode": end(jaxs),
        "floor": lambda rates: floor(y0, rates),
    }
    if gradient:
        functions["ours, Continuous"] = end(ours, adjoint=ode.Continuous())
        functions["diffrax, Backsolve"] = end(theirs, adjoint=diffrax.BacksolveAdjoint())
    torch = None if gradient else ("lotka-volterra" if ts is None else "save-times", {"y0": y0})
    return (rates,), functions, torch


@problem("Lotka-Volterra")
def plain():
    return lotka(None, False)


@problem("the same, 200 save times")
def saved():
    return lotka(MANY, False)


@problem("its gradient")
def gradient():
    return lotka(None, True)


def of_network(name, sizes, y0, end, decay):
    layers = network(sizes)

    def field(t, y, layers):
        return apply(t, y, layers) - decay * y

    def slope(solve, **options):
        return jax.grad(lambda layers: jnp.mean(solve(field, y0, end, layers, 1e-6, **options)[-1] ** 2))

    floor = bare(field, evaluations(field, y0, end, layers, 1e-6), True)
    functions = {
        "ours": slope(ours),
        "ours, Continuous": slope(ours, adjoint=ode.Continuous()),
        "diffrax": slope(theirs),
        "diffrax, Backsolve": slope(theirs, adjoint=diffrax.BacksolveAdjoint()),
        "jax.experimental.ode": slope(jaxs),
        "floor": lambda layers: floor(y0, layers),
    }
    arrays = {f"weight{i}": weight for i, (weight, _) in enumerate(layers)}
    arrays |= {f"bias{i}": bias for i, (_, bias) in enumerate(layers)}
    return (layers,), functions, (name, {"y0": y0, **arrays})


@problem("gradient of a small network, 64 examples in the state")
def small():
    y0 = jax.random.normal(jax.random.key(1), (64, 4))
    return of_network("small-network", [4, 32, 4], y0, 100.0, 0.1)


@problem("gradient of 581,000 parameters, 1 example")
def large():
    y0 = jax.random.normal(jax.random.key(1), (64,))
    return of_network("large-network", [64, 507, 507, 507, 64], y0, 1.0, 0.0)


@problem("gradient of 581,000 parameters, 32 examples in the state")
def large_batch():
    y0 = jax.random.normal(jax.random.key(1), (32, 64))
    return of_network("large-network", [64, 507, 507, 507, 64], y0, 1.0, 0.0)


def oscillators(n, low, high, gradient=False):
    y0, mu = van_der_pols(n, low, high)

    def end(solve, **options):
        each = jax.vmap(lambda y, mu: solve(van_der_pol, y, 10.0, mu, 1e-5, **options)[-1])
        total = lambda mu: jnp.sum(each(y0, mu))  # noqa: E731
        return jax.grad(total) if gradient else total

    def together(t, y, mu):
        return jax.vmap(van_der_pol, (None, 0, 0))(t, y, mu)

    n_evaluations = jax.vmap(
        lambda y, mu: (
            ode.odeint(
                van_der_pol, y, jnp.array([0.0, 10.0]), mu, solver=ode.Dopri5(1e-5, 1e-5)
            ).stats.evaluations
        )
    )(y0, mu)
    floor = bare(together, int(np.mean(n_evaluations)), gradient)
    functions = {
        "ours": end(ours),
        "diffrax": end(theirs),
        "jax.experimental.ode": end(jaxs),
        "floor": lambda mu: floor(y0, mu),
    }
    if gradient:
        functions["ours, Continuous"] = end(ours, adjoint=ode.Continuous())
        functions["diffrax, Backsolve"] = end(theirs, adjoint=diffrax.BacksolveAdjoint())
    return (mu,), functions, None if gradient else ("van-der-pol", {"y0": y0, "mu": mu})


@problem("512 Van der Pol, mu 0.1 to 100")
def uneven():
    return oscillators(512, 0.1, 100.0)


@problem("512 Van der Pol, mu 0.5 to 2")
def even():
    return oscillators(512, 0.5, 2.0)


@problem("gradient of 256 Van der Pol, mu 0.1 to 20")
def uneven_gradient():
    return oscillators(256, 0.1, 20.0, gradient=True)


class Torch:
    """The torch peers' process."""

    def __init__(self, interpreter, folder):
        script = Path(__file__).parent / "peers" / "torch_odes.py"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([interpreter, str(script)], stdin=pipe, stdout=pipe, text=True)
        self.folder = folder

    def times(self, name, arrays, rounds):
        """Milliseconds of each round for each peer."""
        file = Path(self.folder) / "arrays.npz"
        single = {key: np.asarray(own, np.float32) for key, own in arrays.items()}
        np.savez(file, allow_pickle=False, **single)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"problem": name, "rounds": rounds, "file": str(file)}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def measure(make, torch):
    """Median milliseconds by name, and the names of those that fail."""
    arguments, functions, asked = make()
    taken, compiled, repeats, failing = {name: [] for name in functions}, {}, {}, set()
    for name, function in functions.items():
        compiled[name] = jax.jit(function)
        if not all(np.isfinite(x).all() for x in jax.tree_util.tree_leaves(compiled[name](*arguments))):
            failing.add(name)
        started = time.perf_counter()
        jax.block_until_ready(compiled[name](*arguments))
        repeats[name] = max(1, int(0.03 / max(time.perf_counter() - started, 1e-6)))
    for _ in range(ROUNDS):
        for name, function in compiled.items():
            started = time.process_time()
            for _ in range(repeats[name]):
                jax.block_until_ready(function(*arguments))
            taken[name].append(1e3 * (time.process_time() - started) / repeats[name])
        if torch is not None and asked is not None:
            for name, rounds in torch.times(*asked, 1).items():
                taken.setdefault(name, []).extend(rounds)
    return {name: statistics.median(rounds) for name, rounds in taken.items()}, failing


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--torch-python", default=".venv-torch/bin/python", help="has torchdiffeq and torchode"
    )
    interpreter = parser.parse_args().torch_python
    with tempfile.TemporaryDirectory() as folder:
        torch = None
        if shutil.which(interpreter) is None:
            print(f"without torch: there is no {interpreter}")
        else:
            torch = Torch(interpreter, folder)
        for name, make in PROBLEMS.items():
            found, failing = measure(make, torch)
            ours_took = found["ours"]
            print(f"\n{name}", flush=True)
            for who, milliseconds in found.items():
                times = f"{milliseconds:10.4g} ms   {milliseconds / ours_took:8.3g} x ours"
                print(f"  {who:<26} {times}{'   fails' * (who in failing)}", flush=True)
        if torch is not None:
            torch.process.terminate()
            torch.process.wait()


if __name__ == "__main__":
    main()
