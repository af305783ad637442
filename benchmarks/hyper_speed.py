"""Speed, compiles and memory of tuning, on digits with 650 regularisers.

    python benchmarks/hyper_speed.py [--repeats 5]

A step of each engine against its floor, the bare gradients that it cannot do without, in turns, median of
several. Compiles are counted by JAX's own log. The last line is JSON for the results table.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from backthrough.hyper import (
    CG,
    Elementwise,
    HyperSpace,
    Implicit,
    LocalHypernet,
    Problem,
    Real,
    Tuner,
    Unroll,
)
from backthrough.hyper.engines import Engine
from backthrough.recipes.hyper.ridge import Ridge, digits

N_STEPS = 2000
SPACE = HyperSpace(decay=Real(1e-8, 100.0, log=True, per="weight", initial=0.02))


def tuner_of(ridge: Ridge, engine: Engine, n_steps: int = N_STEPS) -> Tuner:
    """Of the problem of 650 regularisers."""
    problem = Problem(ridge.train_loss, ridge.valid.loss, ridge.initial(), SPACE)
    return Tuner(problem, engine, n_steps=n_steps, warm_up=0)


def steps_of(tuner: Tuner) -> Callable[[Any], Any]:
    """Many steps in one program."""

    def run(state: Any) -> Any:
        keys = jax.random.split(jax.random.key(1), tuner.n_steps)
        return jax.lax.scan(lambda s, key: tuner.step(s, (None, None), key=key), state, keys)[0]

    return run


def floor_of(ridge: Ridge, n_train: int) -> Callable[[Any], Any]:
    """As many gradients of the training loss as a step has, and one of the validation loss; nothing else."""
    decay = {"decay": jnp.full(ridge.shape, 0.02)}

    def step(w: Any, _: Any) -> tuple[Any, None]:
        for _ in range(n_train):
            w = w - 1e-2 * jax.grad(ridge.train_loss)(w, decay)
        return w - 1e-6 * jax.grad(ridge.valid.loss)(w), None

    return lambda w: jax.lax.scan(step, w, length=N_STEPS)[0]


def seconds(program: Callable[[Any], Any], argument: Any) -> float:
    """Of one call."""
    started = time.perf_counter()
    jax.block_until_ready(program(argument))
    return time.perf_counter() - started


class Compiles(logging.Handler):
    """Counts programs that JAX compiles, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Counts a record."""
        if record.getMessage().startswith("Compiling"):
            self.names.append(record.getMessage())


def compiles_of(tuner: Tuner) -> int:
    """Times that the loop of steps is compiled in a whole run of `fit`, whose dispatches differ in length."""
    from backthrough.hyper.batches import PairedBatches
    from backthrough.train import fit

    counted = Compiles()
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(counted)
    logger.propagate = False
    with jax.log_compiles():
        fit(
            tuner.step,
            tuner.init(key=jax.random.key(0)),
            PairedBatches(None, None, train_steps=1),
            n_steps=tuner.n_steps,
            key=jax.random.key(0),
            shards=1,
        )
    logger.removeHandler(counted)
    return sum("many_steps" in name for name in counted.names)


def memory(ridge: Ridge, train_steps: int) -> int:
    """Bytes of temporaries of one step of `Implicit` that trains so many steps."""
    tuner = tuner_of(ridge, Implicit(CG(20), train_steps=train_steps))
    state = tuner.init(key=jax.random.key(0))
    step = jax.jit(lambda state, key: tuner.step(state, (None, None), key=key))
    analysis: Any = step.lower(state, jax.random.key(0)).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes)


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    ridge = digits()
    engines: dict[str, tuple[Engine, int]] = {
        "elementwise": (LocalHypernet(Elementwise()), 2),
        "implicit, 20 steps of CG": (Implicit(CG(20)), 43),
        "unroll 5": (Unroll(5), 10),
    }
    results = {}
    for name, (engine, n_gradients) in engines.items():
        tuner = tuner_of(ridge, engine)
        state = tuner.init(key=jax.random.key(0))
        own = jax.jit(steps_of(tuner)).lower(state).compile()
        floor = jax.jit(floor_of(ridge, n_gradients)).lower(ridge.initial()).compile()
        pairs = [(seconds(own, state), seconds(floor, ridge.initial())) for _ in range(repeats)]
        speed = N_STEPS / statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        results[name] = speed, ratio
        print(f"{name}: {speed:,.0f} steps a second, {ratio:.2f} times {n_gradients} + 1 bare gradients")
    n_compiles = compiles_of(tuner_of(ridge, LocalHypernet(Elementwise())))
    long, short = memory(ridge, 2000), memory(ridge, 20)
    print(f"compiles {n_compiles}; temporaries of 2,000 and 20 training steps: {long:,} and {short:,} bytes")
    others = "; ".join(
        f"{name}: {own[0]:,.0f} a second, {own[1]:.2f} floors" for name, own in results.items()
    )
    print(
        json.dumps(
            {
                "hyper.A8-speed": {"ours": results["elementwise"][0], "note": f"{others}."},
                "hyper.A8-compiles": {"ours": n_compiles},
                "hyper.A8-memory": {"ours": long / short},
            }
        )
    )


if __name__ == "__main__":
    main()
