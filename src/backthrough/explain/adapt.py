"""Models of any kind as functions of one example: JAX, scikit-learn, batched NumPy (torch: `torch_model`)."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, check_choice
from backthrough.explain.host import HostFunction, call_host, check_pure
from backthrough.explain.score import Outputs

KINDS = ("logits", "probabilities", "sigmoid")
SUM_TOLERANCE = 1e-3
ENOUGH_TO_TELL = 10  # so many logits are hardly all between 0 and 1 by chance


@dataclass(frozen=True)
class Bound:
    """A model that has been tried on the examples that are to be explained.

    Attributes:
        function: Maps one example to its outputs, shape (output,); under `vmap` a model on the host is called
            once for the whole batch.
        outputs: Its outputs for the examples, as an array of the host.
        kind: What they are.
        differentiable: Whether `jax.grad` goes through it.
        classes: What the model itself calls its classes, where it says.
    """

    function: Callable[[Array], Float[Array, "output"]]
    outputs: Float[np.ndarray, "example output"]
    kind: Outputs
    differentiable: bool
    classes: tuple[str, ...] = ()


@runtime_checkable
class Adapter(Protocol):
    """A model that knows how to be called."""

    def bind(self, x: Float[Array, "example ..."]) -> Bound:
        """Tries the model on the examples.

        Raises:
            ArgumentError: if it cannot take them, or returns what no model returns.
        """
        ...


@dataclass(frozen=True, eq=False)
class JaxModel:
    """A JAX function, or an Equinox module, from ONE example to its outputs.

    Equinox modules are put in inference mode (a copy; the caller's stays as it is).

    Attributes:
        function: Maps one example to outputs of shape (output,).
        outputs: What they are.
    """

    function: Callable[[Any], Any]
    outputs: Outputs = "logits"

    def bind(self, x: Float[Array, "example ..."]) -> Bound:
        """See `Adapter`."""
        function = eqx.nn.inference_mode(self.function)
        try:
            outputs = eqx.filter_jit(eqx.filter_vmap(function, in_axes=0))(x)
        except Exception as error:
            raise ArgumentError(
                f"the model, called with one example of shape {x.shape[1:]}, raised {type(error).__name__}: "
                f"{error}. A JAX model takes ONE example; of one that takes batches make "
                "`lambda x: model(x[None])[0]`; a NumPy function is wrapped: NumpyModel(function)"
            ) from error
        return checked(function, outputs, self.outputs, len(x), differentiable=True)


@dataclass(frozen=True, eq=False)
class NumpyModel:
    """A black box: a NumPy function of a batch, (example, ...) to (example, output).

    It must be pure and must not call JAX.

    Attributes:
        function: The function.
        outputs: What it returns.
    """

    function: Callable[[np.ndarray], Any]
    outputs: Outputs = "probabilities"

    def bind(self, x: Float[Array, "example ..."]) -> Bound:
        """See `Adapter`."""
        return bind_host(self.function, x, self.outputs)


@dataclass(frozen=True, eq=False)
class SklearnModel:
    """A fitted classifier with `predict_proba` or `decision_function`.

    Attributes:
        estimator: The classifier.
        method: Which of the two is used; `predict_proba` where there is one, when None.
    """

    estimator: Any
    method: str | None = None

    def bind(self, x: Float[Array, "example ..."]) -> Bound:
        """See `Adapter`."""
        known = ("predict_proba", "decision_function")
        method = self.method or next((own for own in known if hasattr(self.estimator, own)), known[0])
        check_choice("method", method, known)
        if not hasattr(self.estimator, method):
            raise ArgumentError(f"{type(self.estimator).__name__} has no {method}")
        if isinstance(self.estimator, type):
            raise ArgumentError(f"model is the class {self.estimator.__name__}: give a fitted instance of it")
        call = getattr(self.estimator, method)
        names = getattr(self.estimator, "feature_names_in_", None)

        def function(rows: np.ndarray) -> np.ndarray:
            flat = rows.reshape(len(rows), -1)
            if names is not None:
                import pandas as pd

                flat = pd.DataFrame(flat, columns=names)
            found = np.asarray(call(flat))
            if (
                method == "decision_function" and found.ndim == 1
            ):  # of two classes: the log-odds of the second
                found = np.stack([np.zeros_like(found), found], axis=1)
            return found

        labels = getattr(self.estimator, "classes_", ())
        kind: Outputs = "probabilities" if method == "predict_proba" else "logits"
        name = type(self.estimator).__name__
        classes = tuple(str(own) for own in labels)
        bound = bind_host(function, x, kind, classes=classes, name=name)
        if len(labels) and bound.outputs.shape[1] != len(labels):
            raise ArgumentError(
                f"{method} of {name} has {bound.outputs.shape[1]} outputs for {len(labels)} classes, so they "
                "are none of a class each: with decision_function_shape='ovo' they are of pairs, take 'ovr', "
                "or predict_proba"
            )
        if len(labels) and method == "decision_function":
            self._check_largest(bound, x, labels, names)
        return bound

    def _check_largest(self, bound: "Bound", x: Any, labels: Any, names: Any) -> None:
        """Refuses a decision function whose largest value is not the class that is predicted."""
        flat = np.asarray(x).reshape(len(x), -1)
        if names is not None:
            import pandas as pd

            flat = pd.DataFrame(flat, columns=names)
        said = np.asarray(self.estimator.predict(flat))
        largest = np.asarray(labels)[bound.outputs.argmax(axis=1)]
        if said.shape == largest.shape and (said != largest).any():
            row = int(np.argmax(said != largest))
            raise ArgumentError(
                f"{type(self.estimator).__name__} predicts {said[row]} for example {row}, and its decision "
                f"function is largest for {largest[row]}: its values are none of a class each "
                "(decision_function_shape='ovo'?)"
            )


def bind_host(
    function: Callable[[np.ndarray], Any],
    x: Float[Array, "example ..."],
    kind: Outputs,
    *,
    classes: tuple[str, ...] = (),
    name: str | None = None,
) -> Bound:
    """Binds a function of the host."""
    called = name or str(getattr(function, "__qualname__", type(function).__name__))
    rows = np.asarray(x)
    outputs = call_host(function, rows, called)
    check_pure(function, rows, outputs, called)
    host = HostFunction(function, outputs.shape[1], called)
    return checked(host, outputs, kind, len(x), differentiable=False, classes=classes)


def checked(
    function: Callable[[Array], Array],
    outputs: Any,
    kind: Outputs,
    n_examples: int,
    *,
    differentiable: bool,
    classes: tuple[str, ...] = (),
) -> Bound:
    """A bound model, when its outputs are what they are said to be.

    Raises:
        ArgumentError: if they have another shape, are not finite, or are no logits or no probabilities.
    """
    check_choice("outputs", kind, KINDS)
    outputs = np.asarray(outputs)
    if outputs.dtype.kind not in "biuf" and outputs.dtype != jnp.bfloat16:
        raise ArgumentError(f"the model must return real numbers, got {outputs.dtype}")
    outputs = outputs.astype(np.float64)
    if outputs.ndim != 2 or len(outputs) != n_examples or not outputs.shape[1]:
        raise ArgumentError(
            f"the model must return outputs of shape (output,) for one example, got {outputs.shape[1:]}"
        )
    if not np.isfinite(outputs).all():
        row = int(np.argmax(~np.isfinite(outputs).all(axis=1)))
        raise ArgumentError(f"the model returned {outputs[row]} for example {row}")
    is_distribution = (
        outputs.shape[1] > 1
        and (outputs >= 0).all()
        and (outputs <= 1 + SUM_TOLERANCE).all()
        and (np.abs(outputs.sum(axis=1) - 1) < SUM_TOLERANCE).all()
    )
    if kind == "logits" and is_distribution:
        raise ArgumentError(
            "the model's outputs are in [0, 1] and add up to 1, so they look like probabilities: wrap it and "
            "say so, JaxModel(model, outputs='probabilities'), or return logits"
        )
    if kind == "sigmoid" and outputs.size >= ENOUGH_TO_TELL and (outputs >= 0).all() and (outputs <= 1).all():
        raise ArgumentError(
            "the model's outputs are all in [0, 1], so they look like probabilities, and outputs='sigmoid' "
            "means the logit of each label: return what the model has before its sigmoid, or its log-odds"
        )
    if kind == "probabilities" and outputs.shape[1] > 1 and not is_distribution:
        total = float(outputs.sum(axis=1)[0])
        raise ArgumentError(
            f"the model's outputs are no probabilities: those of example 0 lie in [{outputs[0].min():.3g}, "
            f"{outputs[0].max():.3g}] and add up to {total:.3g}; say outputs='logits', or give a score="
        )
    return Bound(function, outputs, kind, differentiable, classes)


def adapt(model: Any) -> Adapter:
    """The adapter of a model: what is one already, torch, scikit-learn, and JAX for any other callable.

    Raises:
        ArgumentError: if it is none of these.

    Example:
        >>> adapt(lambda x: x @ x).outputs
        'logits'
    """
    if isinstance(model, Adapter):
        return model
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        from backthrough.explain.torch_model import TorchModel

        return TorchModel(model)
    if hasattr(model, "predict_proba") or hasattr(model, "decision_function"):
        return SklearnModel(model)
    if callable(model):
        return JaxModel(model)
    cure = (
        "; one that predicts numbers: NumpyModel(lambda rows: model.predict(rows)[:, None]) with score="
        if hasattr(model, "predict")
        else ""
    )
    raise ArgumentError(
        f"model must be a JAX function, an Equinox or torch module, a classifier with predict_proba or "
        f"decision_function, or a NumpyModel, got {type(model).__name__}{cure}"
    )
