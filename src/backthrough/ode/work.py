"""How much work an evaluation of a field is, and what can be done with it."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.extend.core as jax_core
import jax.numpy as jnp

from backthrough.ode.flatten import Flat
from backthrough.ode.onestep import AnyTableau
from backthrough.ode.tableaux import Tableau

LARGE = 2**17  # multiplications in products of matrices: some tens of microseconds on a CPU
NOTABLE = 2**12  # so many take longer to compile than an addition


def method_and_tail(tableau: AnyTableau, flat: Flat) -> tuple[AnyTableau, AnyTableau]:
    """The method, with its stages in a loop if an evaluation of the field is much work; and its `tail`.

    A loop compiles the field once, and costs up to a tenth of the time. The last lanes of many take little of
    it, but as long to compile as all of them: their stages are in a loop unless the field is tiny.
    """
    if not isinstance(tableau, Tableau):
        return tableau, tableau
    jaxpr = jax.make_jaxpr(flat.field)(jnp.zeros((), flat.y0.dtype), flat.y0, flat.leaves)
    work, looped = multiplications(jaxpr.jaxpr), replace(tableau, looped=True)
    return looped if work >= LARGE else tableau, looped if work >= NOTABLE else tableau


def multiplications(jaxpr: jax_core.Jaxpr) -> int:
    """Of all products of matrices and convolutions; a loop of unknown length counts once."""
    total = 0
    for eqn in jaxpr.eqns:
        inner = sum(multiplications(part) for part in _inside(eqn))
        total += inner * eqn.params.get("length", 1)
        shapes: list[Any] = [getattr(x.aval, "shape", ()) for x in (*eqn.invars, *eqn.outvars)]
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += math.prod(shapes[-1]) * math.prod(shapes[0][axis] for axis in contracted)
        elif eqn.primitive.name == "conv_general_dilated":
            features = eqn.params["dimension_numbers"].rhs_spec[0]
            total += math.prod(shapes[-1]) * math.prod(shapes[1]) // shapes[1][features]
    return total


def has_forward_mode(jaxpr: jax_core.Jaxpr) -> bool:
    """Whether nothing in it has reverse mode only."""
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    if any(name.startswith(("custom_vjp", "backthrough_ode")) for name in names):
        return False
    return all(has_forward_mode(part) for eqn in jaxpr.eqns for part in _inside(eqn))


def _inside(eqn: jax_core.JaxprEqn) -> list[jax_core.Jaxpr]:
    """The jaxprs among the parameters of an operation."""

    def closed(x: object) -> bool:
        return isinstance(x, (jax_core.ClosedJaxpr, jax_core.Jaxpr))

    leaves = jax.tree_util.tree_leaves(list(eqn.params.values()), is_leaf=closed)
    return [getattr(x, "jaxpr", x) for x in leaves if closed(x)]
