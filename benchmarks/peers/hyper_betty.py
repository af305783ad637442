"""Regularisers by betty, of a problem that `hyper_vs_peers.py` has written; writes `found.npz`.

    python benchmarks/peers/hyper_betty.py FOLDER

Needs betty-ml and torch. Its hypergradient is by 20 steps of conjugate gradients, as that of
`Implicit(CG(20))`, a training step before each; `cg_alpha` must be 1, with others its solution is wrong. The
rates fall along half a cosine of the time.
"""

# pyright: reportMissingImports=false

import sys
import time
from pathlib import Path

import numpy as np
import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem

WEIGHT_RATE, HYPER_RATE, CG_STEPS = 1e-2, 2e-2, 20
FINAL = 0.01
MANY_FEATURES = 500  # from which a second thread helps


class Values(torch.nn.Module):
    """One array."""

    def __init__(self, start):
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(start))

    def forward(self):
        """The array."""
        return self.values


class Outer(ImplicitProblem):
    """The regularisers, on the validation rows."""

    def training_step(self, batch):
        """The validation loss."""
        x, y = batch
        return torch.mean((x @ self.inner() - y) ** 2)


class Inner(ImplicitProblem):
    """The weights, on the training rows."""

    def training_step(self, batch):
        """The training loss."""
        x, y = batch
        w = self.module()
        return torch.mean((x @ w - y) ** 2) + torch.sum(torch.exp(self.outer()) * w**2)


def main(folder: Path) -> None:
    began = time.perf_counter()
    arrays = dict(np.load(folder / "problem.npz"))
    seconds = float(arrays["seconds"])
    torch.set_num_threads(2 if arrays["x"].shape[1] > MANY_FEATURES else 1)
    torch.manual_seed(int(arrays["seed"]))

    def made():
        """A fresh engine, its optimisers, and its two arrays."""
        modules = Values(arrays["log_decay"]), Values(arrays["weights"])
        optimisers = [
            torch.optim.Adam(module.parameters(), lr=rate)
            for module, rate in zip(modules, (HYPER_RATE, WEIGHT_RATE), strict=True)
        ]
        rows = (
            [[torch.tensor(arrays[f"{name}_valid"]) for name in "xy"]],
            [[torch.tensor(arrays[name]) for name in "xy"]],
        )
        outer = Outer("outer", Config(), modules[0], optimisers[0], train_data_loader=rows[0])
        settings = Config(type="cg", cg_iterations=CG_STEPS, unroll_steps=1)
        inner = Inner("inner", settings, modules[1], optimisers[1], train_data_loader=rows[1])
        graph = {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}}
        engine = Engine([outer, inner], EngineConfig(strategy="cpu"), graph)
        engine.train()
        return engine, optimisers, modules

    def advance(engine):
        engine.global_step += 1
        engine.train_step()

    engine, _, _ = made()
    for _ in range(20):
        advance(engine)
    engine, optimisers, (log_decay, weights) = made()
    begun, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        scale = FINAL + (1 - FINAL) * 0.5 * (1 + np.cos(np.pi * spent / seconds))
        for optimiser, rate in zip(optimisers, (HYPER_RATE, WEIGHT_RATE), strict=True):
            optimiser.param_groups[0]["lr"] = rate * scale
        advance(engine)
        count += 1
    np.savez(
        folder / "found.npz",
        log_decay=log_decay.values.detach().numpy(),
        weights=weights.values.detach().numpy(),
        seconds=time.perf_counter() - begun,
        count=count,
        compiling=begun - began,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
