"""Errors of gradients through black-box solvers, against the matrix exponential, in double precision.

    python benchmarks/ode_blackbox.py

A linear system of six, three output times, rtol 1e-8: SciPy's six methods and a hand-written RK4, which only
runs forwards. The last line is JSON for the results table.
"""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm

from backthrough import ode
from backthrough.ode.blackbox import SCIPY

TS = (0.1, 0.8, 1.5)


def rk4(fun, y0, ts):
    ys = [y0]
    for begin, end in itertools.pairwise(ts):
        y, h = ys[-1], (end - begin) / 300
        for t in begin + h * np.arange(300):
            a = fun(t, y)
            b = fun(t + h / 2, y + h / 2 * a)
            c = fun(t + h / 2, y + h / 2 * b)
            y = y + h / 6 * (a + 2 * b + 2 * c + fun(t + h, y + h * c))
        ys.append(y)
    return np.stack(ys)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    matrix = jax.random.normal(jax.random.key(0), (6, 6)) / 2
    arguments = (jax.random.normal(jax.random.key(1), (6,)), jnp.array(TS), matrix)

    def exact(y0, ts, matrix):
        return jnp.sum(jnp.sin(jax.vmap(lambda t: expm(matrix * (t - ts[0])) @ y0)(ts)))

    expected = jax.grad(exact, argnums=(0, 1, 2))(*arguments)
    solvers = {name: ode.blackbox(name, rtol=1e-8, atol=1e-10) for name in SCIPY}
    solvers["own RK4"] = ode.blackbox(rk4, forwards=True)
    errors = {}
    for name, solver in solvers.items():

        def loss(y0, ts, matrix, solver=solver):
            return jnp.sum(jnp.sin(ode.odeint(lambda t, y, m: m @ y, y0, ts, matrix, solver=solver).ys))

        ours = jax.grad(loss, argnums=(0, 1, 2))(*arguments)
        errors[name] = max(
            float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in zip(ours, expected, strict=True)
        )
        print(f"{name}: {errors[name]:.1e}", flush=True)
    note = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(json.dumps({"ode.A11": {"ours": max(errors.values()), "note": note}}))


if __name__ == "__main__":
    main()
