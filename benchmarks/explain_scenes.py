"""Explanations of digits in scenes, beside captum's of the same classifier: what lies on the digit.

    python benchmarks/explain_scenes.py [--folder FOLDER] [--data NAME] [--torch-python PATH]

Trains the classifier of scenes (a minute or two), and makes maps of test scenes whose target it finds. Both
are kept in FOLDER, runs/explain_scenes by default, and used again by later runs with the same classifier.
Integrated gradients, occlusion and KernelSHAP are captum's: PATH is the Python of an environment with torch,
captum and scikit-learn, .venv-torch/bin/python by default. It runs in a process of its own, and where both
have a method, the largest difference is printed. The last line is JSON for the results table.
"""

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from backthrough.datasets import Images, load
from backthrough.explain import Explanation, Grid
from backthrough.explain.adapt import JaxModel
from backthrough.explain.compared import RISE, Gradient, IntegratedGradients, Occlusion, saliency
from backthrough.explain.infill import (
    Blur,
    Constant,
    Infiller,
    MaskedAutoencoder,
    Noise,
    load_infiller,
    save_infiller,
)
from backthrough.explain.measures import localisation_error, pointing_game, relevance_mass, scatter
from backthrough.recipes.explain.scene_classifier import (
    SHARPNESS,
    SceneClassifier,
    presence_logits,
    train_scene_classifier,
)
from backthrough.recipes.explain.scenes import Scenes, make_scenes
from explain_claim import OURS, bbmp_maps, explained
from explain_claim import differences as claims
from explain_claim import measured as measured_maps

N_TRAIN, N_SCENES, N_TWINS, N_CLAIM = 8000, 100, 48, 32
WINDOW, STRIDE, CELL = 8, 4, 4
N_SHAP, N_RISE, N_STEPS = 1000, 1000, 50
LEVELS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # times the mean, as Fong and Vedaldi tried
N_INFILL, WIDTHS = 3000, (16, 32, 64)
UNITS, AREA_COST = Grid(12, 12), 50.0
COVERED = 0.5  # of a copy's pixels


def infiller(data: Images, path: Path) -> Infiller:
    """The U-Net of scenes in the file, or trained and written there."""
    if not path.exists():
        scenes = make_scenes(data, N_INFILL, seed=2, split="train")
        fitted = MaskedAutoencoder.fit(scenes.images, key=jax.random.key(0), widths=WIDTHS, n_steps=1500)
        save_infiller(path, fitted)
    return load_infiller(path)


def ours(
    model: SceneClassifier, scenes: Scenes, infills: dict[str, Infiller], folder: Path
) -> dict[str, Explanation]:
    """Explanations of the scenes with each infiller."""
    wrapped = JaxModel(model, outputs="sigmoid")
    return explained(wrapped, scenes.images, scenes.target, infills, UNITS, AREA_COST, folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/explain_scenes"))
    parser.add_argument("--data", default="mnist-small", help="mnist or mnist-small")
    parser.add_argument("--torch-python", default=".venv-torch/bin/python", help="has torch and captum")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    data = load(arguments.data)
    assert isinstance(data, Images)
    model = classifier(data, arguments.folder / f"{arguments.data}.npz")
    scenes, twins = (found_by(model, data, twins=own) for own in (False, True))
    baseline = float(make_scenes(data, 500, seed=9, split="train").images.mean())
    generative = infiller(data, arguments.folder / "infiller.npz")
    found = ours(model, scenes, {OURS: generative}, arguments.folder)
    maps = {f"FIDO, {OURS}": found[OURS].map}
    logits = presence_logits(model, scenes)
    maps |= kept(arguments.folder / "library.npz", logits, lambda: library(model, scenes, baseline))
    if shutil.which(arguments.torch_python) is None:
        print(f"there is no {arguments.torch_python}: install the extra bench-torch and give --torch-python")
    else:
        maps |= kept(
            arguments.folder / "peers.npz",
            logits,
            lambda: captum(model, scenes, logits, baseline, arguments.folder, arguments.torch_python),
        )
    print("largest differences:", differences(maps))
    maps["the true mask"] = scenes.target_masks.astype(float)
    rows = {}
    for name, values in maps.items():
        rows[name] = measured(values, scenes)
        print(
            f"{name:<32}", "  ".join(f"{what} {value:.3f}" for what, value in rows[name].items()), flush=True
        )
    result = against_peers(rows)
    print(result, flush=True)
    both = ours(model, twins, {OURS: generative}, arguments.folder)[OURS]
    result |= of_twins(both.mask("ssr"), both.mask("sdr"), twins)
    few, wrapped = part(scenes, np.arange(N_CLAIM)), JaxModel(model, outputs="sigmoid")
    others: dict[str, Infiller] = {
        "mean": Constant(baseline),
        "blur": Blur(few.images.shape[1] * 10 / 224),
        "noise": Noise(-1.0, 1.0),
    }
    own = {OURS: found[OURS].map[:N_CLAIM]}
    own |= {name: kind.map for name, kind in ours(model, few, others, arguments.folder).items()}
    own["BBMP"] = bbmp_maps(wrapped, few.images, few.target, UNITS)
    judged = measured_maps(wrapped, few.images, few.target, own, few.target_boxes, generative, UNITS)
    print(json.dumps(result | claims(judged, "scenes")))


def against_peers(rows: dict[str, dict[str, float]]) -> dict[str, dict]:
    """Ours less the best peer: captum's and RISE."""
    mine = rows[f"FIDO, {OURS}"]
    peers = {name: own for name, own in rows.items() if name.endswith("(captum)") or name.startswith("RISE")}
    mass, boxes = "mass, target of digits", "error of boxes"
    best = max(peers, key=lambda name: peers[name][mass])
    least = min(peers, key=lambda name: peers[name][boxes])
    level = ", ".join(f"{name} {own['at the best level']:.3f}" for name, own in peers.items())
    return {
        "explain.A9-mass": {
            "ours": round(mine[mass] - peers[best][mass], 4),
            "note": f"Ours {mine[mass]:.4f}; "
            + ", ".join(f"{name} {own[mass]:.4f}" for name, own in peers.items())
            + f". Of all relevance, not only what lies on digits: ours {mine['mass, target of all']:.3f}, "
            + ", ".join(f"{name} {own['mass, target of all']:.3f}" for name, own in peers.items())
            + ".",
        },
        "explain.A9-wsl": {
            "ours": round(mine[boxes] - peers[least][boxes], 4),
            "note": f"Ours {mine[boxes]:.3f}, {least} {peers[least][boxes]:.3f}. At the multiple of the mean "
            f"that is best for each: ours {mine['at the best level']:.3f}, {level}.",
        },
    }


def classifier(data: Images, path: Path) -> SceneClassifier:
    """The classifier in the file, or trained and written there."""
    empty = SceneClassifier(key=jax.random.key(0))
    if path.exists():
        leaves = np.load(path)
        return with_leaves(empty, [leaves[f"leaf{number}"] for number in range(len(leaves.files))])
    started = time.perf_counter()
    model = train_scene_classifier(make_scenes(data, N_TRAIN, seed=0, split="train"), key=jax.random.key(0))
    print(f"trained in {time.perf_counter() - started:.0f} s")
    leaves = jax.tree_util.tree_leaves(model)
    named: dict[str, Any] = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
    np.savez(path, **named)
    return model


def with_leaves(model: SceneClassifier, leaves: list[np.ndarray]) -> SceneClassifier:
    """The model with other arrays."""
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(model), map(jax.numpy.asarray, leaves))


def found_by(model: SceneClassifier, data: Images, *, twins: bool) -> Scenes:
    """Test scenes whose target the classifier finds; it says how many it does."""
    scenes = make_scenes(data, 2 * N_SCENES, seed=1, split="test", twins=twins)
    logits = presence_logits(model, scenes)
    is_found = logits[np.arange(len(scenes)), scenes.target] > 0
    right = ((logits > 0) == scenes.present).mean()
    print(f"{'twins' if twins else 'scenes'}: target found {is_found.mean():.3f}, answers right {right:.3f}")
    return part(scenes, np.flatnonzero(is_found)[: N_TWINS if twins else N_SCENES])


def part(scenes: Scenes, rows: np.ndarray) -> Scenes:
    """Some of the scenes."""
    names = ("images", "present", "classes", "masks", "boxes")
    return Scenes(**{name: getattr(scenes, name)[rows] for name in names}, twins=scenes.twins)


def kept(path: Path, logits: np.ndarray, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The maps in the file, if they are of the same logits and settings; otherwise made and written there."""
    settings = [WINDOW, STRIDE, CELL, N_SHAP, N_RISE, N_STEPS]
    if path.exists():
        maps = dict(np.load(path))
        if np.array_equal(maps.pop("logits"), logits) and maps.pop("settings").tolist() == settings:
            print(f"{', '.join(maps)}: kept from an earlier run")
            return maps
    maps = make()
    arrays: dict[str, Any] = {**maps, "logits": logits, "settings": np.array(settings)}
    np.savez(path, **arrays)
    return maps


def library(model: SceneClassifier, scenes: Scenes, baseline: float) -> dict[str, np.ndarray]:
    """Maps by the methods of `backthrough.explain.compared`."""
    methods = {
        "Gradient": Gradient(),
        "IntegratedGradients": IntegratedGradients(baseline, N_STEPS),
        "Occlusion": Occlusion(WINDOW, STRIDE, baseline),
        "RISE": RISE(N_RISE, baseline=baseline),
    }
    maps, wrapped = {}, JaxModel(model, outputs="sigmoid")
    for name, method in methods.items():
        started = time.perf_counter()
        maps[f"{name} (backthrough)"] = saliency(
            wrapped, scenes.images, method=method, target=scenes.target, key=jax.random.key(0)
        )
        print(f"{name}: {time.perf_counter() - started:.1f} s")
    rise = maps["RISE (backthrough)"]
    maps["RISE, less its least"] = rise - rise.min(axis=(1, 2), keepdims=True)  # as it is shown
    return maps


def captum(
    model: SceneClassifier, scenes: Scenes, logits: np.ndarray, baseline: float, folder: Path, python: str
) -> dict[str, np.ndarray]:
    """Maps by captum, of the same network in torch; the child refuses a network that differs."""
    arrays: dict[str, Any] = {"sharpness": np.array(SHARPNESS)}
    for number, layer in enumerate(model.layers):
        arrays[f"weight{number}"], arrays[f"bias{number}"] = np.asarray(layer.weight), np.asarray(layer.bias)
        arrays[f"layer{number}"] = np.array([layer.kernel_size, layer.stride, layer.padding])
    np.savez(folder / "classifier.npz", **arrays)
    np.savez(folder / "scenes.npz", images=scenes.images, target=scenes.target, logits=logits)
    options: dict[str, Any] = {"baseline": baseline, "window": WINDOW, "stride": STRIDE, "cell": CELL}
    np.savez(folder / "options.npz", **options, n_shap=N_SHAP, n_steps=N_STEPS)
    script = Path(__file__).parent / "peers" / "captum_scenes.py"
    subprocess.run([python, str(script), str(folder)], check=True)
    found = dict(np.load(folder / "captum.npz"))
    for name in [name for name in found if name.startswith(("seconds", "difference"))]:
        print(f"captum, {name}: {float(found.pop(name)):.2g}")
    return {f"{name} (captum)": values for name, values in found.items()}


def differences(maps: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest difference of our maps from captum's of the same name, relative to the largest value."""
    found = {}
    for name, values in maps.items():
        other = maps.get(name.replace("(captum)", "(backthrough)"))
        if name.endswith("(captum)") and other is not None:
            found[name] = float(np.abs(values - other).max() / np.abs(values).max())
    return found


def measured(maps: np.ndarray, scenes: Scenes) -> dict[str, float]:
    """Means over the scenes: what lies on the target, and how well the map finds its box.

    Boxes are of what lies above the mean, and above the multiple of it that is best for these very scenes.
    """
    targets, others = scenes.target_masks, scenes.distractor_masks
    return {
        "mass, target of digits": float(relevance_mass(maps, targets, distractors=others).mean()),
        "mass, target of all": float(relevance_mass(maps, targets).mean()),
        "error of boxes": localisation_error(maps, scenes.target_boxes),
        "at the best level": min(
            localisation_error(maps, scenes.target_boxes, level=level) for level in LEVELS
        ),
        "pointing": float(pointing_game(maps, scenes.target_boxes).mean()),
        "scatter": float(scatter(maps).mean()),
    }


def of_twins(keep: np.ndarray, delete: np.ndarray, twins: Scenes) -> dict[str, dict]:
    """Whether hard masks that are deleted cover both copies, and masks that are kept at least one.

    A copy is covered with half of its pixels; areas are in boxes of a copy, the mean of the two.
    """
    copies = twins.masks[:, :2]

    def covered(masks: np.ndarray) -> np.ndarray:
        parts = (copies & masks[:, None]).sum(axis=(2, 3)) / copies.sum(axis=(2, 3))
        return parts >= COVERED

    boxes = twins.boxes[:, :2]
    copy_area = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1).mean(axis=1)
    area = (keep.sum(axis=(1, 2)) / copy_area).mean()
    note = f"{len(twins)} scenes."
    return {
        "explain.A9-twins-sdr": {"ours": round(float(covered(delete).all(axis=1).mean()), 4), "note": note},
        "explain.A9-twins-ssr": {"ours": round(float(covered(keep).any(axis=1).mean()), 4), "note": note},
        "explain.A9-twins-area": {"ours": round(float(area), 3), "note": note},
    }


if __name__ == "__main__":
    main()
