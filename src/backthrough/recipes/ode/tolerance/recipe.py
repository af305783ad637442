"""Error, evaluations and time of a solve with its gradient against the tolerance (after Chen et al. 2018)."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, check_integer, check_positive
from backthrough.ode import Backsolve, Bosh3, Discrete, Dopri5, Dopri8, Tsit5, odeint
from backthrough.recipes.ode.tolerance.config import Config
from backthrough.train import Headline, Number, ProgressBar, Run

SOLVERS: dict[str, Callable[[float], Any]] = {
    "Bosh3": lambda tolerance: Bosh3(rtol=jnp.asarray(tolerance), atol=jnp.asarray(tolerance)),
    "Dopri5": lambda tolerance: Dopri5(rtol=jnp.asarray(tolerance), atol=jnp.asarray(tolerance)),
    "Tsit5": lambda tolerance: Tsit5(rtol=jnp.asarray(tolerance), atol=jnp.asarray(tolerance)),
    "Dopri8": lambda tolerance: Dopri8(rtol=jnp.asarray(tolerance), atol=jnp.asarray(tolerance)),
}
REFERENCE = 1e-13
RATES, FIRST = (1.5, 1.0, 3.0, 1.0), (1.0, 1.0)


class Point(NamedTuple):
    """One solver at one tolerance; evaluations backwards by `Discrete`, and by the paper's `Backsolve`."""

    error: float
    gradient_error: float
    evaluations: int
    backward_evaluations: int
    backsolve_evaluations: int
    seconds: float


def run(config: Config, run: Run) -> None:
    """Solves at every tolerance, and draws what the tolerance buys."""
    for name in ("loosest", "tightest", "repetitions"):
        check_integer(name, getattr(config, name), minimum=1)
    check_positive("end", config.end)
    if config.tightest - config.loosest < 2 or config.tightest > 12:
        raise ArgumentError("tightest must be at least loosest + 2 and at most 12")
    tolerances = [10.0**-k for k in range(config.loosest, config.tightest + 1)]
    with jax.enable_x64(True), ProgressBar("solving", len(SOLVERS) * len(tolerances)) as bar:
        reference = solve(config.end, Dopri8(rtol=REFERENCE, atol=REFERENCE), Discrete())
        found: dict[str, list[Point]] = {}
        spent: list[int] = []
        for name, solver in SOLVERS.items():
            found[name] = []
            for tolerance in tolerances:
                found[name].append(measure(config, solver(tolerance), reference, spent))
                bar.update(sum(len(points) for points in found.values()))
    numbers = []
    for name, points in found.items():
        slope = np.polyfit(np.log10(tolerances), np.log10([point.error for point in points]), 1)[0]
        what = "power of the tolerance with which the error of the last state falls"
        numbers.append(Number(f"error power ({name})", float(slope), "", what))
        what = f"evaluations of the field at tolerance {tolerances[-1]:g}"
        numbers.append(Number(f"evaluations ({name})", float(points[-1].evaluations), "", what))
        ratios = [point.backsolve_evaluations / point.evaluations for point in points]
        what = "evaluations of Backsolve's backward solve over those of the forward one, mean over tolerances"
        numbers.append(Number(f"backward over forward ({name})", float(np.mean(ratios)), "", what))
    show(run, tolerances, found)
    cheapest = min(found, key=lambda name: found[name][-1].evaluations)
    sentence = (
        f"At tolerance {tolerances[-1]:g} {cheapest} needs the fewest evaluations of the field "
        f"({found[cheapest][-1].evaluations:,}), and is off by {found[cheapest][-1].error:.2g}."
    )
    run.save_result(numbers, headline=Headline(sentence, f"evaluations ({cheapest})", "tolerance.svg"))


@eqx.filter_jit
def solve(end: float, solver: Any, adjoint: Any) -> tuple[Float[Array, "2"], Float[Array, "2"], Any]:
    """Last state, gradient of its sum with respect to the first, and statistics."""

    def field(t: Array, y: Float[Array, "2"], rates: Float[Array, "4"]) -> Float[Array, "2"]:
        (u, v), (a, b, g, d) = y, rates
        return jnp.stack([a * u - b * u * v, d * u * v - g * v])

    def last(first: Float[Array, "2"], solver: Any) -> tuple[Array, Any]:
        ts = jnp.array([0.0, end])
        solution = odeint(field, first, ts, jnp.array(RATES), solver=solver, adjoint=adjoint, max_steps=2**15)
        return solution.ys[-1].sum(), (solution.ys[-1], solution.stats)

    slope, (state, stats) = jax.grad(last, has_aux=True)(jnp.array(FIRST), solver)
    return state, slope, stats


def measure(config: Config, solver: Any, reference: tuple[Array, Array, Any], spent: list[int]) -> Point:
    """Errors relative to the reference, costs (`spent` is told them), and the time of solve and gradient."""
    end, slope, stats = solve(config.end, solver, Discrete())
    seconds = np.inf
    for _ in range(config.repetitions):
        started = time.perf_counter()
        jax.block_until_ready(solve(config.end, solver, Discrete()))
        seconds = min(seconds, time.perf_counter() - started)
    solve(config.end, solver, Backsolve(counter=spent.append))
    jax.effects_barrier()

    def error(own: Array, true: Array) -> float:
        return float(jnp.linalg.norm(own - true) / jnp.linalg.norm(true))

    return Point(
        error=error(end, reference[0]),
        gradient_error=error(slope, reference[1]),
        evaluations=int(stats.evaluations),
        backward_evaluations=int(stats.backward_evaluations),
        backsolve_evaluations=int(spent[-1]),
        seconds=seconds,
    )


def show(run: Run, tolerances: list[float], found: dict[str, list[Point]]) -> None:
    """The panels of figure 3 of Chen et al. 2018, a curve for each solver."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    (left, middle), (right, last) = figure.subplots(2, 2)
    for index, (name, points) in enumerate(found.items()):
        style: dict[str, Any] = {"color": f"C{index}", "markersize": 3}
        error, gradient_error, evaluations, backward, backsolve, seconds = np.array(points, np.float64).T
        left.loglog(tolerances, error, "o-", label=name, **style)
        left.loglog(tolerances, gradient_error, "o--", **style)
        middle.loglog(tolerances, evaluations, "o-", **style)
        middle.loglog(tolerances, backward, "o--", **style)
        middle.loglog(tolerances, backsolve, "o:", **style)
        right.loglog(evaluations, error, "o-", **style)
        last.loglog(evaluations + backward, 1e3 * seconds, "o-", **style)
    left.loglog(tolerances, tolerances, color="0.7", zorder=0)
    left.set(xlabel="tolerance", ylabel="relative error", title="what it buys")
    middle.set(xlabel="tolerance", ylabel="evaluations of the field", title="what it costs")
    right.set(xlabel="evaluations of the field", ylabel="relative error", title="error for cost")
    last.set(xlabel="evaluations, forward and backward", ylabel="milliseconds", title="and in time")
    left.legend(fontsize="small")
    caption = (
        "Above: error of the last state (solid) and of its gradient (dashed) against the tolerance, grey "
        "being equal to it; evaluations forward (solid) and backward (dashed; dotted by Backsolve). Below: "
        "error for evaluations; time of a solve with its gradient."
    )
    run.figures.save_plot("tolerance", figure, caption=caption)
