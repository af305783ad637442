"""Continuous planar flows of width M against planar flows of depth M (Chen et al. 2018, sec. 4.1 and fig. 4).

    python benchmarks/flows_cnf_vs_nf.py

Both are fitted with the same number of steps of Adam, each at the better of two learning rates, from three
initialisations (either gets stuck now and then; losses are means over the three): by maximum
likelihood to the same fresh points, and by KL(q || p) to the two crescents of Rezende and Mohamed 2015. They
are measured on fresh points and fresh draws. For the likelihood the planar flow is used turned round, so that
its density is cheap. The last line is a JSON object for the results table.
"""

import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from backthrough.core import PRNGKey
from backthrough.flows import ContinuousFlow, Flow, Inverse, PlanarField, StandardNormal, planar_chain
from backthrough.ode import RK4, Dopri5, Unrolled
from backthrough.recipes.flows.cnf_2d.densities import draw_points
from backthrough.train import Stream, fit, schedule

DATA, SIZES, BATCH, STEPS, RATES, N_TEST = "circles", (2, 8, 32), 256, 1500, (3e-3, 1e-2), 5000
SEEDS = (0, 1, 2)


def continuous(field: PlanarField, *, measuring: bool) -> Flow:
    """The flow of a field; solved in 20 steps in training, to 1e-5 when it is measured.

    With five steps the flow learns to use the errors of the solver: for eight units the training loss was
    .7 nats below the exact one.
    """
    solve: dict[str, Any] = {"solver": Dopri5()} if measuring else {"solver": RK4(20), "adjoint": Unrolled()}
    return Flow(StandardNormal(2), ContinuousFlow(field, **solve))


def turned_round(chain: Any, *, measuring: bool) -> Flow:
    """The planar flow whose density is cheap."""
    return Flow(StandardNormal(2), Inverse(chain))


def planar(chain: Any, *, measuring: bool) -> Flow:
    """The planar flow whose draws are cheap."""
    return Flow(StandardNormal(2), chain)


def crescents(z: Array) -> Array:
    """log p up to a constant: two crescents on a ring (Rezende and Mohamed 2015, table 1, potential 1)."""
    ring = 0.5 * jnp.square((jnp.linalg.norm(z) - 2) / 0.4)
    ends = jnp.logaddexp(-0.5 * jnp.square((z[0] - 2) / 0.6), -0.5 * jnp.square((z[0] + 2) / 0.6))
    return ends - ring


def log_normaliser() -> float:
    """Of the crescents, as a sum over a fine grid."""
    axis = jnp.linspace(-6.0, 6.0, 1201)
    grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return float(jax.nn.logsumexp(jax.vmap(crescents)(grid)) + 2 * jnp.log(axis[1] - axis[0]))


def negative_log_likelihood(flow: Flow, points: Array, key: PRNGKey) -> Array:
    """Of every point."""
    return -jax.vmap(flow.log_prob)(points)


def excess(flow: Flow, points: Array, key: PRNGKey) -> Array:
    """log q - log p, p without its constant, of as many draws as there are points."""
    z, log_q = jax.vmap(lambda key: flow.sample_and_log_prob(key=key))(jax.random.split(key, len(points)))
    return log_q - jax.vmap(crescents)(z)


def loss_of(make: Any, parameters: Any, rate: float, losses: Any) -> float:
    """The mean loss after training, on fresh points and draws."""
    optimiser = optax.adam(schedule("cosine", rate, n_steps=STEPS))

    def step(state, batch, *, key):
        parameters, memory = state

        def loss(parameters):
            return losses(make(parameters, measuring=False), batch, key).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(parameters)
        updates, memory = optimiser.update(gradients, memory)
        return (eqx.apply_updates(parameters, updates), memory), {"loss": value}

    state = (parameters, optimiser.init(eqx.filter(parameters, eqx.is_inexact_array)))
    batches = Stream(lambda step: draw_points(DATA, BATCH, seed=[1, step]))
    fitted = fit(step, state, batches, n_steps=STEPS, key=jax.random.key(0))
    points = jnp.asarray(draw_points(DATA, N_TEST, seed=2))
    measured = eqx.filter_jit(losses)(make(fitted.state[0], measuring=True), points, jax.random.key(1))
    return float(np.asarray(measured).mean())


def main() -> None:
    """Trains both for every size and loss."""
    rows = {}
    for name, what, losses, discrete, constant in (
        ("ode.cnf-vs-nf", DATA, negative_log_likelihood, turned_round, 0.0),
        ("ode.cnf-vs-nf-matching", "KL(q || p)", excess, planar, log_normaliser()),
    ):
        found: dict[str, list[float]] = {"CNF": [], "NF": []}
        for size in SIZES:
            ends: dict[str, list[float]] = {"CNF": [], "NF": []}
            for seed in SEEDS:
                key = jax.random.fold_in(jax.random.key(seed), size)
                field, chain = PlanarField(2, size, key=key), planar_chain(2, size, key=key)
                for label, make, start in (("CNF", continuous, field), ("NF", discrete, chain)):
                    ends[label].append(constant + min(loss_of(make, start, rate, losses) for rate in RATES))
            print(what, size, ends, flush=True)
            for label, own in ends.items():
                found[label].append(float(np.mean(own)))
        gains = np.subtract(found["NF"], found["CNF"])
        pairs = zip(SIZES, found["CNF"], found["NF"], strict=True)
        shown = "; ".join(f"M = {size}: CNF {cnf:.3f}, NF {nf:.3f}" for size, cnf, nf in pairs)
        note = (
            f"{what}, {STEPS:,} steps, batch {BATCH}, the better of two learning rates each, means of "
            f"{len(SEEDS)} initialisations. {shown} nats."
        )
        rows[name] = {"ours": float(gains.min()), "note": note}
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
