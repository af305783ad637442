"""What a step of an engine costs: gradients of the training loss."""

from backthrough.hyper.engines import CG, Direct, Engine, Implicit, Neumann, Unroll
from backthrough.hyper.engines.inverses import POWER_STEPS
from backthrough.hyper.problem import Problem


def train_evaluations(engine: Engine, problem: Problem, *, n_steps: int, warm_up: int) -> int:
    """Gradients of the training loss in a run, at most; a product with its Hessian counts as one.

    An engine from elsewhere is taken to make one for each of its `n_samples` in each training step, and none
    for a hypergradient.

    Args:
        engine: The engine.
        problem: What it works on.
        n_steps: Steps of the run.
        warm_up: Steps in which the hyperparameters rest.
    """
    fit = engine.train_steps * getattr(engine, "n_samples", 1)
    moving = n_steps - warm_up
    if engine.order == "first":
        return warm_up * fit
    if engine.order == "together":  # Unroll takes each step, takes it again, and goes back
        return warm_up * fit + moving * (3 * fit if isinstance(engine, Unroll) else fit)
    return n_steps * fit + moving * _hypergradient(engine, problem)


def _hypergradient(engine: Engine, problem: Problem) -> int:
    """Of an engine that trains and moves in turns."""
    if not isinstance(engine, Implicit):
        return 0
    inverse, around = engine.inverse, 3  # the linearised gradient, the residual, and the mixed derivative
    if isinstance(inverse, CG):
        return around + inverse.n_steps + 1
    if isinstance(inverse, Neumann):
        return around + inverse.n_steps + POWER_STEPS
    return around + (problem.n_weights if isinstance(inverse, Direct) else 0)
