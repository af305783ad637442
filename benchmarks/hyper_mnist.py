"""7,850 regularisers of a linear model of MNIST: the weights that tuning returns, and an exact refit.

    python benchmarks/hyper_mnist.py [--seeds 3]

1,000 training images, the last 10,000 of the official 60,000 for validation. The best single regulariser has
a test error of .0451. The last line is JSON for the results table.
"""

import argparse
import json
import time

import jax
import numpy as np

from backthrough.hyper import CG, Elementwise, HyperSpace, Implicit, LocalHypernet, Real, tune
from backthrough.hyper.engines import Engine
from backthrough.recipes.hyper.ridge import mnist

SPACE = HyperSpace(decay=Real(1e-9, 100.0, log=True, per="weight", initial=float(np.exp(-5.0))))
ENGINES: dict[str, tuple[Engine, int, dict]] = {
    "elementwise": (LocalHypernet(Elementwise()), 6000, {}),
    "implicit": (Implicit(CG(10)), 4000, {}),
}


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    ridge = mnist(1000)
    own, refitted, slowest = {}, {}, {}
    for name, (engine, n_steps, settings) in ENGINES.items():
        tests, refits, times = [], [], []
        for seed in seeds:
            started = time.perf_counter()
            found = tune(
                ridge.train_loss,
                ridge.valid.loss,
                ridge.initial(),
                SPACE,
                engine=engine,
                n_steps=n_steps,
                key=jax.random.key(seed),
                **settings,
            )
            times.append(time.perf_counter() - started)
            refit = ridge.refit(found.hyper["decay"])
            tests.append(ridge.test.measured(found.params))
            refits.append(ridge.test.measured(refit))
            print(f"{name}, seed {seed}, {times[-1]:.0f} s", flush=True)
            for words, w in {"as returned": found.params, "refitted": refit}.items():
                print(
                    f"    {words}: validation {ridge.valid.measured(w):.5f}, "
                    f"test {ridge.test.measured(w):.5f}, accuracy {ridge.test.accuracy(w):.4f}",
                    flush=True,
                )
        own[name], refitted[name], slowest[name] = max(tests), max(refits), max(times)
    print(
        json.dumps(
            {
                "hyper.A5-elementwise": {"ours": refitted["elementwise"], "seeds": list(seeds)},
                "hyper.A5-implicit": {"ours": refitted["implicit"], "seeds": list(seeds)},
                "hyper.A5-own": {"ours": own["elementwise"], "seeds": list(seeds)},
                "hyper.A5-minutes": {"ours": max(slowest.values()) / 60, "seeds": list(seeds)},
            }
        )
    )


if __name__ == "__main__":
    main()
