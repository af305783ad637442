"""Memory and robustness of the adjoints, in double precision.

    python benchmarks/ode_adjoints.py

Memory is XLA's own count of temporary bytes of a compiled gradient. Robustness is the error of gradients of
Van der Pol oscillators, which contract forwards and so explode backwards, against `Discrete` at tolerance
1e-12. The last line is JSON for the results table.
"""

import os

os.environ["EQX_ON_ERROR"] = "nan"

import json

import diffrax
import jax
import jax.numpy as jnp

from backthrough import ode

BUDGET = 1e6
CASES = ((1.0, 10.0), (5.0, 20.0))


def temporary(max_steps, adjoint, size=200):
    def loss(y0):
        solution = ode.odeint(
            lambda t, y, args: jnp.sin(y),
            y0,
            jnp.array([0.0, 1.0]),
            max_steps=max_steps,
            adjoint=adjoint,
            throw=False,
        )
        return jnp.sum(solution.ys)

    compiled = jax.jit(jax.grad(loss)).lower(jnp.ones(size)).compile()
    found = compiled.memory_analysis()
    assert found is not None
    return found.temp_size_in_bytes


def memory(rows):
    for name, adjoint in (("continuous", ode.Continuous()), ("backsolve", ode.Backsolve())):
        few, many = temporary(64, adjoint), temporary(4096, adjoint)
        rows[f"ode.A9-{name}"] = {"ours": many / few, "note": f"{many:,} against {few:,} bytes, 200 entries"}
    found = temporary(4096, ode.Discrete(BUDGET))
    rows["ode.A9-discrete"] = {"ours": found / BUDGET, "note": f"{found:,} bytes, 200 entries"}
    for name, entry in rows.items():
        print(name, entry["note"], flush=True)


def van_der_pol(t, y, mu):
    return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def gradient(adjoint, mu, end, tolerance):
    def loss(y0, mu):
        solution = ode.odeint(
            van_der_pol,
            y0,
            jnp.array([0.0, end]),
            mu,
            solver=ode.Tsit5(tolerance, tolerance),
            adjoint=adjoint,
            max_steps=2**14,
            throw=False,
        )
        return jnp.sum(solution.ys[-1])

    to_y, to_mu = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.array([2.0, 0.0]), jnp.array(mu))
    return jnp.append(to_y, to_mu)


def diffrax_gradient(adjoint, mu, end, tolerance):
    def loss(y0, mu):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(van_der_pol),
            diffrax.Tsit5(),
            0.0,
            end,
            None,
            y0,
            mu,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=adjoint,
        )
        assert solution.ys is not None
        return jnp.sum(solution.ys[-1])

    to_y, to_mu = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.array([2.0, 0.0]), jnp.array(mu))
    return jnp.append(to_y, to_mu)


def robustness(rows):
    exact = {case: gradient(ode.Discrete(), *case, 1e-12) for case in CASES}
    ours = {
        "Discrete": ode.Discrete(),
        "Continuous": ode.Continuous(),
        "Interpolated": ode.Interpolated(),
        "Backsolve": ode.Backsolve(),
    }
    theirs = {
        "diffrax's default": diffrax.RecursiveCheckpointAdjoint(),
        "diffrax's Backsolve": diffrax.BacksolveAdjoint(),
    }
    honest = []
    for tolerance, bound in ((1e-6, 1e-3), (1e-8, 1e-5)):
        errors: dict[str, list[float]] = {}
        for case in CASES:
            for name, adjoint in {**ours, **theirs}.items():
                find = diffrax_gradient if name in theirs else gradient
                off = jnp.abs(find(adjoint, *case, tolerance) - exact[case]).max()
                errors.setdefault(name, []).append(float(off / jnp.abs(exact[case]).max()))
        worst = max(max(errors[name]) for name in ("Discrete", "Continuous", "Interpolated"))
        honest += [not error > bound for error in errors["Backsolve"]]  # NaN is its report without throw
        note = "; ".join(f"{name} {', '.join(f'{e:.1e}' for e in errors[name])}" for name in errors)
        print(f"tolerance {tolerance}: {note}", flush=True)
        rows[f"ode.A10-{tolerance:.0e}".replace("e-0", "e-")] = {"ours": worst, "note": f"mu 1, 5: {note}"}
    rows["ode.A10-backsolve"] = {
        "ours": sum(honest) / len(honest),
        "note": "NaN with throw=False and an error otherwise counts as saying so.",
    }


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    rows: dict[str, dict] = {}
    memory(rows)
    robustness(rows)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
