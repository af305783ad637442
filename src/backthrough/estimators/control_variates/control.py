"""Control variates: functions of z that are learned, or made of f."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, Scalar
from backthrough.estimators.estimator import Problem, hold_closure, one_number
from backthrough.estimators.families import Parts, check_temperature

Control = Callable[[Any], Any]


def check_trainable(control: Control) -> None:
    """Refuses a control variate that has nothing to train.

    Raises:
        ArgumentError: if it is not callable or has no array.
    """
    if not callable(control):
        raise ArgumentError(f"control must be callable, got {control!r}")
    if not any(eqx.is_inexact_array(leaf) for leaf in jax.tree_util.tree_leaves(control)):
        raise ArgumentError(
            "control has no trainable array, so it cannot learn; make it an Equinox module with parameters "
            "(a plain function and its arrays: eqx.Partial(function, arrays))"
        )


def log_of_temperature(temperature: float | Scalar) -> Scalar:
    """The logarithm of a temperature above 0."""
    check_temperature(temperature)
    return jnp.log(jnp.asarray(temperature, jnp.result_type(float)))


def learned_control(control: Control, problem: Problem) -> Callable[[Parts], Scalar]:
    """The caller's function, of the parts of z; what it closes over is held fixed."""
    joint, params = problem.joint, problem.fixed_params()
    z = jax.eval_shape(lambda: joint.present(joint.relax(params, joint.noise(params, key=jax.random.key(0)))))
    held = hold_closure("control", control, z)
    return lambda z: one_number("control", held(joint.present(z)))


def relaxed_control(problem: Problem, log_temperature: Scalar, scale: Scalar) -> Callable[[Parts], Scalar]:
    """scale * f(soften(z, temperature)), with all that f closes over held fixed."""
    fixed = problem.with_fixed_f()
    temperature = jnp.exp(log_temperature)
    return lambda z: scale * fixed.value(problem.joint.soften(z, temperature))
