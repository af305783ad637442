"""CPU time of odeint against diffrax: solves, gradients, batches, fixed steps, save times, compilation.

    python benchmarks/ode_vs_peers.py

All run in one process, interleaved; a time is the least of several rounds of process CPU time, in single
precision, on one core: with more of them XLA's threads wait for each other, and waiting counts as CPU time.
diffrax reports errors as NaN, its cheapest way. The last line is JSON for the results table.
"""

import os

os.environ["EQX_ON_ERROR"] = "nan"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import json
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from backthrough import ode

ROUNDS, ROUND_SECONDS = 9, 0.03
MANY = jnp.linspace(0.0, 10.0, 200)


def ours(field, y0, end, args, tolerance, ts=None, **options):
    times = jnp.array([0.0, end]) if ts is None else ts
    return ode.odeint(field, y0, times, args, solver=ode.Dopri5(tolerance, tolerance), **options).ys


def theirs(field, y0, end, args, tolerance, ts=None, **options):
    saveat = diffrax.SaveAt(t1=True) if ts is None else diffrax.SaveAt(ts=ts)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Dopri5(),
        0.0,
        end,
        None,
        y0,
        args,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        **options,
    ).ys


def bare(field, n_evaluations, pull_back=False):
    """As many evaluations, each of them needing the one before."""

    def run(y0, args):
        def evaluate(i, y):
            if not pull_back:
                return y + 1e-6 * field(0.0, y, args)
            slope, pull = jax.vjp(lambda y, args: field(0.0, y, args), y, args)
            to_y, to_args = pull(slope)
            return (
                y + 1e-6 * (slope + to_y) + 1e-9 * sum(jnp.sum(x) for x in jax.tree_util.tree_leaves(to_args))
            )

        return jax.lax.fori_loop(0, n_evaluations, evaluate, y0)

    return run


def evaluations(field, y0, end, args, tolerance):
    """Of our solve; for a batch the mean over examples."""
    times, solver = jnp.array([0.0, end]), ode.Dopri5(tolerance, tolerance)
    return int(np.mean(ode.odeint(field, y0, times, args, solver=solver).stats.evaluations))


def compare(what, arguments, **functions):
    """Milliseconds of each function, jitted, on `arguments`; and CPU seconds to compile and run it first."""
    compiled, first, best, repeats = {}, {}, {}, {}
    for name, function in functions.items():
        started = time.process_time()
        compiled[name] = jax.jit(function)
        jax.block_until_ready(compiled[name](*arguments))
        first[name] = time.process_time() - started
        started = time.perf_counter()
        jax.block_until_ready(compiled[name](*arguments))
        repeats[name] = max(1, int(ROUND_SECONDS / max(time.perf_counter() - started, 1e-6)))
    for _ in range(ROUNDS):
        for name, function in compiled.items():
            started = time.process_time()
            for _ in range(repeats[name]):
                jax.block_until_ready(function(*arguments))
            spent = 1e3 * (time.process_time() - started) / repeats[name]
            best[name] = min(spent, best.get(name, np.inf))
    cells = ", ".join(f"{name} {best[name]:.4g} ms (first {first[name]:.1f} s)" for name in best)
    print(f"{what}: {cells}", flush=True)
    return best, first


def lotka_volterra(t, y, rates):
    a, b, c, d = rates
    return jnp.stack([a * y[0] - b * y[0] * y[1], d * y[0] * y[1] - c * y[1]])


def van_der_pol(t, y, mu):
    return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def van_der_pols(n, low, high):
    mu = jnp.exp(jax.random.uniform(jax.random.key(0), (n,), minval=np.log(low), maxval=np.log(high)))
    return jnp.tile(jnp.array([2.0, 0.0]), (n, 1)), mu


def network(sizes):
    keys = jax.random.split(jax.random.key(0), len(sizes))
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=False)
    return [(jax.random.normal(key, (a, b)) / np.sqrt(a), jnp.zeros(b)) for key, a, b in pairs]


def apply(t, x, layers):
    for weights, bias in layers[:-1]:
        x = jnp.tanh(x @ weights + bias)
    weights, bias = layers[-1]
    return x @ weights + bias


def row(rows, name, time, peer_time, peer="diffrax 0.7.2", floor=None):
    note = f"{time:.4g} against {peer_time:.4g}"
    if floor is not None:
        note += f"; the bare evaluations, one after the other, take {floor:.4g}"
    rows[name] = {"ours": time / peer_time, "peer": {"name": peer, "value": 1.0}, "note": note}


def small(rows):
    y0 = jnp.array([1.0, 1.0])
    rates = tuple(map(jnp.float32, (1.5, 1.0, 3.0, 1.0)))

    def end(solve, **options):
        return lambda rates: jnp.sum(solve(lotka_volterra, y0, 10.0, rates, 1e-6, **options)[-1])

    plain, _ = compare("Lotka-Volterra", (rates,), ours=end(ours), diffrax=end(theirs))
    many, _ = compare("200 save times", (rates,), ours=end(ours, ts=MANY), diffrax=end(theirs, ts=MANY))
    row(rows, "ode.A7", many["ours"], plain["ours"], "ours without save times")
    row(rows, "ode.A7-diffrax", many["ours"], many["diffrax"])
    best, first = compare(
        "its gradient",
        (rates,),
        ours=jax.grad(end(ours)),
        diffrax=jax.grad(end(theirs)),
        diffrax_256=jax.grad(end(theirs, max_steps=256)),
    )
    row(rows, "ode.A1", best["ours"], best["diffrax"])
    row(rows, "ode.A1-256", best["ours"], best["diffrax_256"], "diffrax 0.7.2, max_steps=256")
    row(rows, "ode.A8-lv", first["ours"], first["diffrax"])


def networks(rows):
    layers = network([4, 32, 4])
    y0 = jax.random.normal(jax.random.key(1), (64, 4))

    def field(t, y, layers):
        return apply(t, y, layers) - 0.1 * y

    def loss(solve):
        return jax.value_and_grad(lambda layers: jnp.mean(solve(field, y0, 100.0, layers, 1e-6)[-1] ** 2))

    best, _ = compare(
        "small neural ODE, value and gradient", (layers,), ours=loss(ours), diffrax=loss(theirs)
    )
    row(rows, "ode.A2", best["ours"], best["diffrax"])
    layers = network([64, 507, 507, 507, 64])
    for batch in (1, 32):
        y0 = jax.random.normal(jax.random.key(1), (batch, 64)[batch == 1 :])

        def big(solve, y0=y0, **options):
            return jax.grad(lambda layers: jnp.mean(solve(apply, y0, 1.0, layers, 1e-6, **options)[-1] ** 2))

        floor = bare(apply, evaluations(apply, y0, 1.0, layers, 1e-6), pull_back=True)
        best, first = compare(
            f"gradient of 581k parameters, batch {batch}",
            (layers,),
            ours=big(ours),
            diffrax=big(theirs),
            continuous=big(ours, adjoint=ode.Continuous()),
            backsolve=big(theirs, adjoint=diffrax.BacksolveAdjoint()),
            floor=lambda layers, y0=y0, floor=floor: floor(y0, layers),
        )
        row(rows, f"ode.A3-batch{batch}", best["ours"], best["diffrax"], floor=best["floor"])
        row(rows, f"ode.A3-continuous{batch}", best["continuous"], best["backsolve"])
        if batch == 1:
            row(rows, "ode.A8-mlp", first["ours"], first["diffrax"])


def batches(rows):
    def end(solve):
        return jax.vmap(lambda y, mu: solve(van_der_pol, y, 10.0, mu, 1e-5)[-1])

    for name, n, low, high in (("ode.A4-forward", 512, 0.1, 100.0), ("ode.A5", 512, 0.5, 2.0)):
        best, _ = compare(
            f"{n} Van der Pol, mu {low} to {high}",
            van_der_pols(n, low, high),
            ours=end(ours),
            diffrax=end(theirs),
        )
        row(rows, name, best["ours"], best["diffrax"])
    y0, mu = van_der_pols(256, 0.1, 20.0)

    def gradient(solve):
        return jax.grad(lambda mu: jnp.sum(end(solve)(y0, mu)))

    best, _ = compare("gradient of 256 Van der Pol", (mu,), ours=gradient(ours), diffrax=gradient(theirs))
    row(rows, "ode.A4-gradient", best["ours"], best["diffrax"])


def fixed_steps(rows):
    y0, mu = van_der_pols(64, 0.5, 2.0)
    layers = network([4, 32, 4])
    states = jax.random.normal(jax.random.key(1), (64, 4))

    def ours(field, y, args):
        return ode.odeint(field, y, jnp.array([0.0, 1.0]), args, solver=ode.Midpoint(1000)).ys[-1]

    def theirs(field, y, args):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Midpoint(), 0.0, 1.0, 1e-3, y, args, max_steps=1010
        ).ys[-1]  # type: ignore[index]

    def oscillators(solve):
        return lambda mu: jnp.sum(jax.vmap(lambda y, mu: solve(van_der_pol, y, mu))(y0, mu))

    def together(t, y, mu):
        return jax.vmap(van_der_pol, (None, 0, 0))(t, y, mu)

    def networks(solve):
        return lambda layers: jnp.mean(jax.vmap(lambda y: solve(apply, y, layers))(states) ** 2)

    floor = bare(together, 2000)
    best, _ = compare(
        "1000 fixed steps of 64 Van der Pol",
        (mu,),
        ours=oscillators(ours),
        diffrax=oscillators(theirs),
        floor=lambda mu: floor(y0, mu),
    )
    row(rows, "ode.A6-forward", best["ours"], best["diffrax"], floor=best["floor"])
    best, _ = compare(
        "their gradient", (mu,), ours=jax.grad(oscillators(ours)), diffrax=jax.grad(oscillators(theirs))
    )
    row(rows, "ode.A6-gradient", best["ours"], best["diffrax"])
    floor = bare(apply, 2000)
    best, _ = compare(
        "1000 fixed steps of a network, 64 examples",
        (layers,),
        ours=networks(ours),
        diffrax=networks(theirs),
        floor=lambda layers: floor(states, layers),
    )
    row(rows, "ode.A6-network", best["ours"], best["diffrax"], floor=best["floor"])
    best, _ = compare(
        "their gradient", (layers,), ours=jax.grad(networks(ours)), diffrax=jax.grad(networks(theirs))
    )
    row(rows, "ode.A6-network-gradient", best["ours"], best["diffrax"])


def main() -> None:
    rows = {}
    for part in (small, networks, batches, fixed_steps):
        part(rows)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
