"""Robertson's problem by Rodas5P against diffrax's Kvaerno5, in double precision.

    python benchmarks/ode_stiff.py

rtol 1e-7, atol 1e-11. CPU time is the least of several interleaved rounds; the error at 1e11 is relative to
what Radau finds at tolerance 1e-12. The last line is JSON for the results table.
"""

import os

os.environ["EQX_ON_ERROR"] = "nan"

import json

import diffrax
import jax
import jax.numpy as jnp

from backthrough import ode
from ode_vs_peers import compare

EXACT = (2.0833401e-8, 8.3333608e-14, 0.99999998)  # at 1e11
START, RTOL, ATOL = (1.0, 0.0, 0.0), 1e-7, 1e-11


def robertson(t, y, rates):
    a, b, c = rates
    first, second = a * y[0] - c * y[1] * y[2], b * y[1] ** 2
    return jnp.stack([-first, first - second, second])


def ours(end, rates):
    times = jnp.array([0.0, end])
    return ode.odeint(robertson, jnp.array(START), times, rates, solver=ode.Rodas5P(RTOL, ATOL)).ys[-1]


def theirs(end, rates):
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(robertson),
        diffrax.Kvaerno5(),
        0.0,
        end,
        None,
        jnp.array(START),
        rates,
        stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
    )
    assert solution.ys is not None
    return solution.ys[-1]


def error(y):
    return float(jnp.abs(y / jnp.array(EXACT) - 1).max())


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    rates = tuple(map(jnp.float64, (0.04, 3e7, 1e4)))
    long, _ = compare(
        "to 1e11", (rates,), ours=lambda rates: ours(1e11, rates), diffrax=lambda rates: theirs(1e11, rates)
    )
    mine, other = error(ours(1e11, rates)), error(theirs(1e11, rates))
    print(f"largest relative errors of the entries {mine:.2g}, {other:.2g}", flush=True)
    short, _ = compare(
        "to 1e2",
        (rates,),
        ours=lambda rates: ours(1e2, rates)[0],
        gradient=jax.grad(lambda rates: ours(1e2, rates)[0]),
        diffrax=lambda rates: theirs(1e2, rates)[0],
        diffrax_gradient=jax.grad(lambda rates: theirs(1e2, rates)[0]),
    )
    ratio = short["diffrax_gradient"] / short["diffrax"]
    rows = {
        "ode.A12-error": {"ours": mine, "peer": {"name": "diffrax 0.7.2, Kvaerno5", "value": other}},
        "ode.A12-time": {
            "ours": long["ours"] / long["diffrax"],
            "peer": {"name": "diffrax 0.7.2, Kvaerno5", "value": 1.0},
            "note": f"{long['ours']:.4g} against {long['diffrax']:.4g} ms",
        },
        "ode.A12-gradient": {
            "ours": short["gradient"] / short["ours"],
            "peer": {"name": "diffrax 0.7.2, Kvaerno5", "value": ratio},
            "note": f"{short['gradient']:.4g} against {short['ours']:.4g} ms; diffrax's gradient "
            f"{short['diffrax_gradient']:.4g} ms",
        },
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
