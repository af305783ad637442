"""The recipes on inference gaps: one as a whole on invented images, their arithmetic, and their trainings."""

import json
import shutil

import equinox as eqx
import jax
import numpy as np
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.latent import FlowEncoder, GapReport, GaussianEncoder, LogLikelihood
from backthrough.recipes.latent import gap_models
from backthrough.recipes.latent.decoder_accommodates import recipe as decoder_accommodates
from backthrough.recipes.latent.expressiveness_generalises import recipe as expressiveness_generalises
from backthrough.recipes.latent.gap_setting import Setting
from backthrough.recipes.latent.inference_gaps import recipe as inference_gaps
from backthrough.train import Run

KEY = jax.random.key(0)
SIZES = {"flow_depth": 1, "latent_size": 2, "hidden_size": 12, "epochs": 2, "batch_size": 10}
GAPS = {"n_images": 3, "n_samples": 20, "n_optimisation_steps": 20}


@pytest.fixture
def data(tmp_path):
    """Images of 6 x 6 pixels."""
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (36, 6, 6), np.uint8))
    return str(path)


@pytest.mark.slow
def test_a_run_and_what_remains_of_it(tmp_path, data, capsys):
    """What is missing is trained or measured again, to the same bits."""
    options = [word for name, value in {**SIZES, **GAPS}.items() for word in (f"--{name}", str(value))]
    folder = tmp_path / "run"
    command = ["run", "inference-gaps", "--data", data, *options, "--families", "factorised"]
    command += ["--encoder-widths", "0", "3", "--run-dir", str(folder)]
    assert main(command) == 0
    first = (folder / "result.json").read_bytes()
    numbers = {number["name"]: number["value"] for number in json.loads(first)["numbers"]}
    gaps = [numbers[f"{name} gap (factorised)"] for name in ("inference", "approximation", "amortization")]
    assert gaps[0] == pytest.approx(gaps[1] + gaps[2])
    amortization = [numbers[f"amortization gap ({name} encoder)"] for name in ("linear", "3-3")]
    assert numbers["smallest less largest encoder"] == pytest.approx(amortization[0] - amortization[1])
    for name in ("parts", "gaps"):
        assert (folder / "figures" / f"{name}.svg").exists()
    shutil.rmtree(folder / "trainings" / "encoder-linear")
    (folder / "result.json").unlink()
    assert main([*command, "--resume"]) == 0
    assert (folder / "result.json").read_bytes() == first
    capsys.readouterr()


def made_up(model, encoder, x, **options):
    """Gaps that tell the encoder's kind and the number of the image: a flow has half the gaps."""
    n = np.arange(len(x), dtype=float)
    part = 0.5 if isinstance(encoder, FlowEncoder) else 1.0
    zero, flags = np.zeros(len(x)), ("",) * len(x)
    log_p = LogLikelihood(zero, zero, zero, flags, "nothing")
    best, elbo = -part * (1 + n), -part * (3 + 2 * n)
    return GapReport(elbo, zero, best, zero, log_p, log_p, zero, zero, flags, options["data"], 2)


@pytest.mark.parametrize(
    ("recipe", "name", "differences"),
    [
        (inference_gaps, "amortization less approximation gap (factorised)", [1, 1, 1]),
        (decoder_accommodates, "what factorised posteriors lose on the flow's decoder", [0, 0, 0]),
        (expressiveness_generalises, "factorised less flow, amortization gap (held-out)", [1, 1.5, 2]),
    ],
)
def test_the_arithmetic(recipe, name, differences, tmp_path, data, monkeypatch):
    monkeypatch.setattr(gap_models, "inference_gaps", made_up)
    monkeypatch.setattr(gap_models, "_train", lambda *args, **options: args[4])
    extra = {"encoder_widths": ()} if recipe is inference_gaps else {}
    run = Run(tmp_path / "run")
    recipe.run(recipe.Config(data=data, **SIZES, **GAPS, **extra), run)
    result = json.loads((run.path / "result.json").read_text())
    found = {number["name"]: number for number in result["numbers"]}
    assert found[name]["value"] == pytest.approx(np.mean(differences))
    error = np.std(differences, ddof=1) / np.sqrt(3)
    assert found[name]["standard_error"] == pytest.approx(error)
    ratio = np.mean(differences) / error if error else 0.0
    assert found[f"{name}, in standard errors"]["value"] == pytest.approx(ratio)
    assert result["headline"]["picture"] == "gaps.svg"
    if recipe is decoder_accommodates:
        assert found["approximation gap, flow (factorised decoder)"]["value"] == pytest.approx(1.0)
        assert found["ELBO of q (flow decoder)"]["value"] == pytest.approx(-2.5)


@pytest.mark.parametrize("flow", ["coupling", "auxiliary"])
def test_training(flow, tmp_path, data):
    """The bound rises."""
    sizes = {**SIZES, "epochs": 60, "schedule": "ladder", "learning_rate": 1e-2, "flow": flow}
    setting = Setting(data=data, **sizes, **GAPS)
    images = gap_models.load_images(setting)
    run = Run(tmp_path / "run")
    model = gap_models.start_model(setting, images, key=KEY)
    encoder = gap_models.start_encoder("flow", setting, images, key=KEY)
    trained = gap_models.train_encoder(setting, run, "encoder", model, encoder, images, key=KEY)
    file = run.path / "trainings" / "encoder" / "metrics.jsonl"
    rows = [json.loads(row) for row in file.read_text().splitlines()]
    bounds = np.array([row["ELBO (nats)/train"] for row in rows])
    assert bounds[-20:].mean() > bounds[:5].mean() + 0.1
    assert gap_models.n_parameters(trained) == gap_models.n_parameters(encoder)


def test_warm_up(tmp_path, data):
    """Without weight on its entropy a posterior becomes narrow; then it is wide again."""
    scales = {}
    for warm_up in (0, 10**6):
        setting = Setting(
            data=data, **{**SIZES, "epochs": 60, "learning_rate": 1e-2}, **GAPS, warm_up=warm_up
        )
        images = gap_models.load_images(setting)
        run = Run(tmp_path / str(warm_up))
        _, encoder = gap_models.train_both(setting, run, "both", "factorised", images, key=KEY)
        scales[warm_up] = float(jax.vmap(encoder)(images.held_out).log_scale.mean())
    assert scales[10**6] < scales[0] - 0.5


def test_the_flow_has_no_more_parameters(data):
    config = expressiveness_generalises.Config(data=data, **SIZES)
    images = gap_models.load_images(config)
    keys = list(jax.random.split(KEY))
    starts = expressiveness_generalises.start_encoders(config, images, keys)
    plain, flow = (gap_models.n_parameters(starts[name]) for name in ("factorised", "flow"))
    assert isinstance(starts["factorised"], GaussianEncoder)
    assert 0.9 * plain < flow <= plain
    leaves = jax.tree_util.tree_leaves(eqx.filter(starts["factorised"].network, eqx.is_array))
    assert plain == sum(leaf.size for leaf in leaves)
    small = expressiveness_generalises.Config(data=data, **{**SIZES, "hidden_size": 1})
    with pytest.raises(ArgumentError, match="a flow of depth 1 alone has more parameters"):
        expressiveness_generalises.start_encoders(small, images, keys)


def test_refusals(tmp_path):
    for index, (options, message) in enumerate(
        (
            ({"n_images": 1}, "n_images must be at least 2, got 1"),
            ({"epochs": 0}, "epochs must be at least 1, got 0"),
            ({"n_optimisation_steps": 3}, "n_steps of Optimisation must be at least 20"),
            ({"families": ("flow",)}, "families must be factorised, or factorised flow"),
            ({"encoder_widths": (0, 0)}, "encoder_widths must differ"),
            ({"encoder_widths": (-1,)}, "encoder_widths must be at least 0, got -1"),
        )
    ):
        with pytest.raises(ArgumentError, match=message):
            inference_gaps.run(inference_gaps.Config(**options), Run(tmp_path / str(index)))
