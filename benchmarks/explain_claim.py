"""What a generative infill is worth: FIDO with several infillers, and BBMP, on one classifier."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from backthrough.explain import Explanation, Units, explain
from backthrough.explain.compared import BBMP, saliency
from backthrough.explain.infill import Infiller
from backthrough.explain.measures import localisation_error, pointing_game, scatter, smallest_area

OURS = "generative"
MEASURES = ("compact", "artifacts", "localisation")


def explained(
    model: Any,
    x: np.ndarray,
    target: Any,
    infills: Mapping[str, Infiller],
    units: Units,
    area_cost: float,
    folder: Path,
) -> dict[str, Explanation]:
    """The explanations with each infiller, both regions; finished inputs are kept in the folder."""
    found = {}
    for name, infill in infills.items():
        found[name] = explain(
            model, x, target=target, infill=infill, units=units, area_cost=area_cost, key=jax.random.key(0),
            keep=folder / "inputs",
        )  # fmt: skip
        for own in found[name].regions:
            print(
                f"{name} {own.kind}: loss {own.loss.mean():.2f}, success {own.success.mean():.3f}, area "
                f"{own.area.mean():.3f}, {own.n_model_calls} calls",
                flush=True,
            )
    return found


def measured(
    model: Any,
    x: np.ndarray,
    target: Any,
    maps: Mapping[str, np.ndarray],
    boxes: np.ndarray,
    judge: Infiller,
    units: Units,
) -> dict[str, dict[str, float]]:
    """Each map's numbers; areas are those that reach the score when the judge fills in what is hidden."""
    rows = {}
    for name, values in maps.items():
        areas = [
            smallest_area(
                model, x, values, infill=judge, key=jax.random.key(1), objective=objective, target=target,
                units=units, n_steps=32, n_samples=1,
            ).area.mean()
            for objective in ("keep", "delete")
        ]  # fmt: skip
        rows[name] = {
            "compact": float(np.mean(areas)),
            "area kept": float(areas[0]),
            "area hidden": float(areas[1]),
            "artifacts": float(scatter(values).mean()),
            "localisation": localisation_error(values, boxes),
            "pointing": float(np.mean(pointing_game(values, boxes))),
        }
        print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
    return rows


def bbmp_maps(model: Any, x: np.ndarray, target: Any, units: Units) -> np.ndarray:
    """The maps of meaningful perturbations."""
    return saliency(model, x, method=BBMP(), target=target, units=units, key=jax.random.key(2))


def differences(rows: Mapping[str, Mapping[str, float]], data: str) -> dict[str, dict]:
    """The rows of the results: ours less the best other, where less is better."""
    others = [name for name in rows if name != OURS]
    result = {}
    for measure in MEASURES:
        best = min(others, key=lambda name, measure=measure: rows[name][measure])
        each = ", ".join(f"{name} {own[measure]:.3f}" for name, own in rows.items())
        result[f"explain.claim-{measure}-{data}"] = {
            "ours": round(rows[OURS][measure] - rows[best][measure], 4),
            "note": f"{each}.",
        }
    return result
