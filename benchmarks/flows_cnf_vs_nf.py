"""Continuous planar flows of width M against planar flows of depth M (Chen et al. 2018, sec. 4.1 and fig. 4).

    python benchmarks/flows_cnf_vs_nf.py

Both are fitted by maximum likelihood to the same fresh points with the same number of steps of Adam, each at
the better of two learning rates, and measured on fresh points. The planar flow is used turned round, so that
its density is cheap. The last line is a JSON object for the results table.
"""

import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from backthrough.flows import ContinuousFlow, Flow, Inverse, PlanarField, StandardNormal, planar_chain
from backthrough.ode import RK4, Dopri5, Unrolled
from backthrough.recipes.toy_densities import draw_points
from backthrough.train import Stream, fit, schedule

DATA, SIZES, BATCH, STEPS, RATES, N_TEST = "circles", (2, 8, 32), 256, 1500, (3e-3, 1e-2), 5000


def continuous(field: PlanarField, *, measuring: bool) -> Flow:
    """The flow of a field; solved in five steps in training, to 1e-5 when it is measured."""
    solve: dict[str, Any] = {"solver": Dopri5()} if measuring else {"solver": RK4(5), "adjoint": Unrolled()}
    return Flow(StandardNormal(2), ContinuousFlow(field, **solve))


def discrete(chain: Any, *, measuring: bool) -> Flow:
    """The planar flow turned round."""
    return Flow(StandardNormal(2), Inverse(chain))


def loss_of(make: Any, parameters: Any, rate: float) -> float:
    """Negative log-likelihood of fresh points after training."""
    optimiser = optax.adam(schedule("cosine", rate, n_steps=STEPS))

    def step(state, batch, *, key):
        parameters, memory = state

        def loss(parameters):
            return -jax.vmap(make(parameters, measuring=False).log_prob)(batch).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(parameters)
        updates, memory = optimiser.update(gradients, memory)
        return (eqx.apply_updates(parameters, updates), memory), {"loss": value}

    state = (parameters, optimiser.init(eqx.filter(parameters, eqx.is_inexact_array)))
    batches = Stream(lambda step: draw_points(DATA, BATCH, seed=[1, step]))
    fitted = fit(step, state, batches, n_steps=STEPS, key=jax.random.key(0))
    points = jnp.asarray(draw_points(DATA, N_TEST, seed=2))
    log_prob = eqx.filter_jit(lambda flow, points: jax.vmap(flow.log_prob)(points))
    return float(-np.asarray(log_prob(make(fitted.state[0], measuring=True), points)).mean())


def main() -> None:
    """Trains both for every size."""
    losses: dict[str, list[float]] = {"CNF": [], "NF": []}
    for size in SIZES:
        key = jax.random.key(size)
        field, chain = PlanarField(2, size, key=key), planar_chain(2, size, key=key)
        losses["CNF"].append(min(loss_of(continuous, field, rate) for rate in RATES))
        losses["NF"].append(min(loss_of(discrete, chain, rate) for rate in RATES))
        print(f"M = {size}: CNF {losses['CNF'][-1]:.3f}, NF {losses['NF'][-1]:.3f} nats", flush=True)
    gains = np.subtract(losses["NF"], losses["CNF"])
    pairs = zip(SIZES, losses["CNF"], losses["NF"], strict=True)
    shown = "; ".join(f"M = {size}: CNF {cnf:.3f}, NF {nf:.3f}" for size, cnf, nf in pairs)
    note = f"{DATA}, {STEPS:,} steps, batch {BATCH}, the better of two learning rates each. {shown}."
    print(json.dumps({"ode.cnf-vs-nf": {"ours": float(gains.min()), "note": note}}))


if __name__ == "__main__":
    main()
