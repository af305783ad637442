"""Learning-rate schedules by name."""

from typing import Literal, get_args

import optax

from backthrough.core import ArgumentError, check_choice, check_integer, check_positive

ScheduleName = Literal["constant", "linear", "cosine", "exponential"]


def schedule(
    name: str, learning_rate: float, *, n_steps: int, warm_up: int = 0, final: float = 0.01
) -> optax.Schedule:
    """The learning rate as a function of the step, to hand to an Optax optimiser.

    Args:
        name: How it falls after the warm-up: `constant`, not at all; `linear`, in a straight line; `cosine`,
            along half a cosine; `exponential`, by the same factor each step.
        learning_rate: Its largest value.
        n_steps: Steps in all, the warm-up included; afterwards it stays.
        warm_up: Steps over which it rises from 0 in a straight line.
        final: Its last value as a part of the largest, in (0, 1].

    Raises:
        ArgumentError: for an unknown name (listing those there are) or a value out of range.

    Examples:
        >>> rate = schedule("cosine", 1e-3, n_steps=1000, warm_up=100)
        >>> [round(float(rate(step)), 6) for step in (0, 50, 100, 1000)]
        [0.0, 0.0005, 0.001, 1e-05]
    """
    check_choice("schedule", name, get_args(ScheduleName))
    check_positive("learning_rate", learning_rate)
    check_integer("n_steps", n_steps, minimum=1)
    check_integer("warm_up", warm_up, minimum=0)
    if warm_up >= n_steps:
        raise ArgumentError(f"warm_up must be less than n_steps={n_steps}, got {warm_up}")
    if not 0 < final <= 1:
        raise ArgumentError(f"final must lie in (0, 1], got {final!r}")
    after = n_steps - warm_up
    falling = {
        "constant": lambda: optax.constant_schedule(learning_rate),
        "linear": lambda: optax.linear_schedule(learning_rate, final * learning_rate, after),
        "cosine": lambda: optax.cosine_decay_schedule(learning_rate, after, alpha=final),
        "exponential": lambda: optax.exponential_decay(
            learning_rate, after, final, end_value=final * learning_rate
        ),
    }[name]()
    if warm_up == 0:
        return falling
    rising = optax.linear_schedule(0.0, learning_rate, warm_up)
    return optax.join_schedules([rising, falling], [warm_up])
