"""Errors of gradients on problems where they are easily missed, in tolerances, in double precision.

    python benchmarks/ode_gradient_error.py

For each problem and adjoint, the error of the worst leaf relative to its largest entry, divided by the
tolerance, at three tolerances; exact gradients are SciPy's, of the forward sensitivities. The problems are
those of tests/ode/gradient_family.py. The last line is JSON for the results table.
"""

import json
import sys
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ode.gradient_family import ADJOINTS, TOLERANCES, exact_gradient, family, gradient_of, worst


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    found: dict[str, dict[str, float]] = {}
    for name, case in family().items():
        exact = exact_gradient(case)
        for adjoint in case.adjoints():
            gradient = gradient_of(case, ADJOINTS[adjoint])
            errors = [worst(gradient(tolerance), exact) / tolerance for tolerance in TOLERANCES]
            print(f"{name:18} {adjoint:13}", *(f"{error:9.2f}" for error in errors), flush=True)
            found.setdefault(name, {})[adjoint] = max(errors)
    largest = {adjoint: max(rows.get(adjoint, 0.0) for rows in found.values()) for adjoint in ADJOINTS}
    note = "; ".join(f"{adjoint} {error:.0f}" for adjoint, error in largest.items())
    print(json.dumps({"ode.gradient-error": {"ours": max(largest.values()), "note": note}}))


if __name__ == "__main__":
    main()
