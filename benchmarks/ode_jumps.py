"""Errors on problems whose field jumps, in tolerances, in double precision.

    python benchmarks/ode_jumps.py

For each problem of tests/ode/jump_family.py the largest error of a state at three tolerances, against SciPy
from jump to jump; and that of the derivatives of the sum of all states by the times of the jumps, by two
adjoints at the middle tolerance, against differences of SciPy's. The last line is JSON for the results table.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from backthrough import ode
from ode.jump_family import Case, error_in_tolerances, family, in_pieces, solve

TOLERANCES = (1e-4, 1e-6, 1e-8)
ADJOINTS: dict[str, Any] = {"Discrete": ode.Discrete(), "Continuous": ode.Continuous()}
SHIFT = 1e-5  # of a jump, for differences; a fifth of the shortest pulse at most
MOST = 4  # jumps whose derivatives are looked at


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    worst, worst_gradient = {}, {}
    for name, case in family().items():
        jumps, exact = jnp.asarray(case.jumps), in_pieces(case)
        states = jax.jit(lambda tolerance, case=case, jumps=jumps: solve(case, jumps, tolerance))
        errors = [error_in_tolerances(states(tolerance), exact, tolerance) for tolerance in TOLERANCES]
        worst[name] = max(errors)
        gradients = gradient_errors(case)
        worst_gradient[name] = max(gradients.values())
        print(f"{name:24}", *(f"{error:8.2f}" for error in (*errors, *gradients.values())), flush=True)
    name = max(worst, key=worst.__getitem__)
    other = max(worst_gradient, key=worst_gradient.__getitem__)
    note = (
        f"{len(worst)} problems; the worst is '{name}'. Derivatives by the times of jumps, by Discrete and "
        f"Continuous at 1e-6: at most {worst_gradient[other]:.0f} tolerances ('{other}')"
    )
    print(json.dumps({"ode.jumps": {"ours": worst[name], "note": note}}))


def gradient_errors(case: Case) -> dict[str, float]:
    """The error of the derivatives by the first jumps inside, over what is allowed at the largest of them."""
    jumps = np.asarray(case.jumps)
    low, high = min(case.ts), max(case.ts)
    some = [i for i, x in enumerate(jumps) if low < x < high and x not in case.ts][:MOST]
    if not some:
        return dict.fromkeys(ADJOINTS, 0.0)
    exact = []
    for i in some:
        moved = np.zeros_like(jumps)
        moved[i] = SHIFT
        before, after = (in_pieces(case, jumps + sign * moved).sum() for sign in (-1, 1))
        exact.append((after - before) / (2 * SHIFT))
    tolerance = TOLERANCES[1]

    def total(jumps: Any, adjoint: Any) -> Any:
        return jnp.sum(solve(case, jumps, tolerance, adjoint=adjoint))

    found = {}
    for name, adjoint in ADJOINTS.items():
        if case.make is ode.Rodas5P and name != "Discrete":
            continue
        gradient = np.asarray(jax.jit(jax.grad(total), static_argnums=1)(jnp.asarray(jumps), adjoint))[some]
        found[name] = float(np.abs(gradient - exact).max() / (tolerance * (1 + np.abs(exact).max())))
    return found


if __name__ == "__main__":
    main()
