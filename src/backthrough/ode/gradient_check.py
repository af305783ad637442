"""How good a gradient through a solve is, and which adjoint and tolerance to use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes

from backthrough.core import ArgumentError, check_positive
from backthrough.ode.adjoints import Backsolve, Continuous, Discrete, Interpolated
from backthrough.ode.checks import check_jumps, check_problem, check_times, check_tolerances
from backthrough.ode.flatten import check_state
from backthrough.ode.odeint import odeint
from backthrough.ode.rosenbrock import Rosenbrock
from backthrough.ode.solvers import Adaptive, Dopri5

ADJOINTS = {
    "Discrete()": Discrete(),
    "Continuous()": Continuous(),
    "Interpolated()": Interpolated(),
    "Backsolve()": Backsolve(),
}
FACTORS = (1.0, 0.1, 0.01)  # of the solver's tolerances that are tried
NOISE = 10.0  # roundings of the largest leaf that are good enough in any
PARTS = ("field", "y0", "ts", "args", "jump_ts")
TIGHTER = 1e-2  # the reference's tolerances, relative to the finest that is tried


@dataclass(frozen=True)
class GradientCheck:
    """The errors of gradients, one entry for each try; each is that of the leaf which is worst.

    The error of a leaf is its largest difference from a reference, relative to the largest entry that this
    leaf has in the reference: a small gradient beside a large one must be right, too.

    Attributes:
        adjoints: What was used.
        rtol: With which relative tolerance.
        atol: And which absolute one.
        error: The relative error of the worst leaf; infinite where the gradient is not finite.
        worst: Which leaf that is, such as "args[0]".
        reference_rtol: The relative tolerance of the reference. It is by `Continuous`, whose backward solve
            also sees what the forward solve's steps do not, or where that cannot be by `Discrete`.
        wanted: The error that is good enough.
    """

    adjoints: tuple[str, ...]
    rtol: np.ndarray
    atol: np.ndarray
    error: np.ndarray
    worst: tuple[str, ...]
    reference_rtol: float
    wanted: float

    @property
    def advice(self) -> str:
        """What to use, in a sentence."""
        first = f"adjoint={self.adjoints[0]} with rtol={self.rtol[0]:.2g}, atol={self.atol[0]:.2g}"
        if self.error[0] <= self.wanted:
            return f"{first} is good enough: its relative error is {self.error[0]:.1e} or less in every leaf"
        good = np.flatnonzero(self.error <= self.wanted)
        if not good.size:
            return (
                f"none of these is within {self.wanted:.1e}; the best is {self.error.min():.1e}: tighten "
                "the tolerances further, and enable double precision if it is not"
            )
        best = good[np.argmax(self.rtol[good])]
        return (
            f"{first} has a relative error of {self.error[0]:.1e} in {self.worst[0]}; "
            f"use adjoint={self.adjoints[best]} with rtol={self.rtol[best]:.2g}, atol={self.atol[best]:.2g}, "
            f"whose error is {self.error[best]:.1e}"
        )

    def table(self) -> pd.DataFrame:
        """A row for each try."""
        return pd.DataFrame(
            {
                "adjoint": self.adjoints,
                "rtol": self.rtol,
                "atol": self.atol,
                "relative error of the worst leaf": self.error,
                "worst leaf": self.worst,
            }
        )

    def plot(self, axes: Axes) -> Axes:
        """Error against tolerance, a line for each adjoint; what failed is left out."""
        for name in dict.fromkeys(self.adjoints):
            rows = [
                i for i, other in enumerate(self.adjoints) if other == name and np.isfinite(self.error[i])
            ]
            axes.plot(self.rtol[rows], self.error[rows], "o-", label=name)
        axes.axhline(self.wanted, color="0.6", linewidth=1, label="wanted")
        axes.set(
            xscale="log", yscale="log", xlabel="rtol", ylabel="relative error of the gradient's worst leaf"
        )
        axes.legend(frameon=False)
        return axes


def check_gradients(
    field: Callable[..., PyTree],
    y0: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    loss: Callable[[PyTree], Array] | None = None,
    solver: Any = None,
    adjoints: Mapping[str, Any] | None = None,
    max_steps: int = 4096,
    jump_ts: Any = None,
    dtmax: Any = None,
    wanted: float = 1e-3,
) -> GradientCheck:
    """Compares gradients with those of a tighter solve, at the solver's tolerances and finer ones.

    The gradients are those to `y0`, `ts`, `args`, `jump_ts`, and to the field if it is a module.

    Args:
        field: The vector field, as for `odeint`.
        y0: The initial state.
        ts: The times.
        args: What is passed on to the field.
        loss: From the states at `ts` to a number; by default the sum of all of them.
        solver: The solver in question; `Dopri5()` by default.
        adjoints: The adjoints in question by name, the first one being that in use; by default
            `Discrete`, `Continuous`, `Interpolated` and `Backsolve`, of which `Rodas5P` has the first.
        max_steps: The most steps of a solve; the reference may take ten times as many.
        jump_ts: As for `odeint`. Without them, all solves may step over the same jump.
        dtmax: As for `odeint`.
        wanted: The relative error that is good enough in every leaf.

    Returns:
        All errors, and advice.

    Raises:
        ArgumentError: if the solver chooses no steps, or if the tightest solve fails.

    Example:
        >>> import jax.numpy as jnp
        >>> from backthrough import ode
        >>> field = lambda t, y, rate: -rate * y
        >>> found = ode.check_gradients(
        ...     field, 1.0, jnp.array([0.0, 1.0]), 0.5, adjoints={"Discrete()": ode.Discrete()}
        ... )
        >>> "is good enough" in found.advice
        True
    """
    solver = Dopri5() if solver is None else solver
    if not isinstance(solver, Adaptive):
        raise ArgumentError(
            "solver must be one that chooses its steps, like Dopri5(): others have no tolerance"
        )
    stiff = isinstance(solver.tableau, Rosenbrock)
    if adjoints is None:
        adjoints = {name: own for name, own in ADJOINTS.items() if name == "Discrete()" or not stiff}
    if not isinstance(adjoints, Mapping):
        raise ArgumentError(f"adjoints must give each adjoint a name, as a dict does, got {adjoints!r}")
    if not adjoints:
        raise ArgumentError("adjoints must name at least one, got none")
    for adjoint in adjoints.values():
        check_problem(y0, ts, solver, adjoint, max_steps, dtmax)
    wanted = check_positive("wanted", wanted)
    module: Any = field if isinstance(field, eqx.Module) else None
    y0 = check_state(y0)
    dtype = jnp.finfo(jax.tree_util.tree_leaves(y0)[0].dtype)
    args = jax.tree_util.tree_map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, args)
    jumps = check_jumps(jump_ts, check_times(ts, dtype.dtype))
    moving, fixed = eqx.partition((module, y0, jnp.asarray(ts), args, jumps), eqx.is_inexact_array)
    coarse = np.array(check_tolerances(solver, dtype.dtype), float)
    finest = np.array([10 * float(dtype.eps), 0.0])

    @eqx.filter_jit
    def find(moving: PyTree, tolerances: Array, adjoint: Any, max_steps: int) -> list[Array]:
        """The leaves of the gradient, not finite if the solve or the loss fails."""
        scaled = Adaptive(solver.tableau, tolerances[0], tolerances[1])  # traced: compiled once an adjoint

        def total(moving: PyTree) -> Array:
            module, y0, ts, args, jumps = eqx.combine(moving, fixed)
            chosen: Any = field if module is None else module
            found = odeint(
                chosen,
                y0,
                ts,
                args,
                solver=scaled,
                adjoint=adjoint,
                max_steps=max_steps,
                jump_ts=jumps,
                dtmax=dtmax,
                throw=False,
            )
            if loss is not None:
                value = jnp.asarray(loss(found.ys))
                if value.shape != ():
                    raise ArgumentError(f"loss must return one number, got shape {value.shape}")
                return value
            parts = [jnp.sum(jnp.real(x)) for x in jax.tree_util.tree_leaves(found.ys)]
            return jnp.asarray(sum(parts))

        value, gradient = jax.value_and_grad(total)(moving)
        return [leaf + 0 * value for leaf in jax.tree_util.tree_leaves(gradient)]

    def gradient(adjoint: Any, factor: float, max_steps: int) -> list[np.ndarray]:
        tolerances = jnp.asarray(np.maximum(factor * coarse, finest), dtype.dtype)
        return [np.asarray(leaf) for leaf in find(moving, tolerances, adjoint, max_steps)]

    reference_factor = TIGHTER * min(FACTORS)
    for way in [Discrete()] if stiff else [Continuous(), Discrete()]:
        reference = gradient(way, reference_factor, 10 * max_steps)
        if all(np.isfinite(leaf).all() for leaf in reference):
            break
    else:
        raise ArgumentError(
            f"solver must have tolerances that can be tightened: at rtol={reference_factor * coarse[0]:.1e} "
            "the solve failed; loosen them, raise max_steps, or enable double precision; if odeint fails as "
            "well, it is the problem that cannot be solved"
        )
    sizes = np.array([np.abs(leaf).max(initial=0) for leaf in reference])
    rounding = (
        NOISE * float(dtype.eps) / wanted * sizes.max()
    )  # some of it is good enough in a gradient of zero
    sizes = np.maximum(sizes, max(rounding, float(dtype.tiny)))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(moving)]
    called = [PARTS[path[0].idx] + jax.tree_util.keystr(path[1:]) for path in paths]
    names, factors, errors, worst = [], [], [], []
    for factor in FACTORS:
        for name, adjoint in adjoints.items():
            found = gradient(adjoint, factor, max_steps)
            off = (
                np.array([np.abs(a - b).max(initial=0) for a, b in zip(found, reference, strict=True)])
                / sizes
            )
            off = np.where(np.isfinite(off), off, np.inf)
            names.append(name)
            factors.append(factor)
            errors.append(off.max())
            worst.append(called[int(np.argmax(off))])
    tried = np.maximum(np.outer(factors, coarse), finest)
    reference_rtol = float(max(reference_factor * coarse[0], finest[0]))
    error = np.array(errors)
    return GradientCheck(tuple(names), tried[:, 0], tried[:, 1], error, tuple(worst), reference_rtol, wanted)
