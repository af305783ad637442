"""The command line as a user meets it: exit codes, messages, and nothing lost."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from backthrough.cli.main import COMMANDS, main
from backthrough.core import DataError, RunError
from backthrough.recipes.digits import load_digits
from backthrough.recipes.latent.vae_mnist.recipe import load_trained

TINY = ("--ladder-stages=1", "--hidden-size=8", "--latent-size=2", "--batch-size=10", "--n-deep=2")


@pytest.fixture
def pictures(tmp_path):
    path = tmp_path / "pictures.npz"
    images = np.random.default_rng(0).random((48, 6, 5)).astype(np.float32)
    np.savez(path, images=images)
    return path


def run(*arguments):
    try:
        return main(["run", "vae-mnist", *map(str, arguments)])
    except SystemExit as stop:  # tyro's own refusals
        return stop.code


def refuses(capsys, code, message, *arguments):
    assert run(*arguments) == code
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split()), captured.err
    assert "Traceback" not in captured.err


def test_help_is_fast_and_imports_no_jax():
    """The bound is 0.6 s; the best of three keeps a busy machine out of it."""
    best = 10.0
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "backthrough", "--help"], capture_output=True, text=True)
        best = min(best, time.perf_counter() - started)
    assert best < 0.6
    assert all(f"  {name}" in done.stdout for name in COMMANDS)
    code = "import sys, backthrough; assert 'jax' not in sys.modules; assert 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_top_level(capsys):
    assert main(["--version"]) == 0
    assert main([]) == 2
    assert main(["rnu"]) == 2
    assert "unknown command 'rnu'; did you mean 'run'?" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert "vae-mnist" in capsys.readouterr().out
    assert main(["run"]) == 2
    assert main(["run", "--help"]) == 0
    assert main(["run", "vae-minst"]) == 2
    assert "unknown recipe 'vae-minst'; did you mean 'vae-mnist'?" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_run_from_ones_own_pictures_to_its_page(tmp_path, pictures, capsys, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert run("--data", pictures.name, "--run-dir", "run", *TINY, "--batch-size=50", "--resume") == 0
    captured = capsys.readouterr()
    assert "test IWAE-5000" in captured.out
    assert "warning: batches have 40 rows, all that there are, and not 50 as asked for" in captured.err
    assert f"{folder} holds no run yet: this starts one" in captured.err
    numbers = json.loads((folder / "result.json").read_text())["numbers"]
    assert [number["n"] for number in numbers] == [8, 8, 2, 8]
    assert all(np.isfinite(number["value"]) for number in numbers)
    with Image.open(folder / "figures" / "samples.png") as picture:
        assert picture.size == (12 * 7 + 2, 5 * 8 + 2)
    page = (folder / "report.html").read_text()
    assert "test IWAE-5000" in page
    model, encoder = load_trained(folder)
    assert (model.latent_size, encoder.data_mean.size) == (2, 30)
    assert (encoder.network.layers[0].bias != 0).any()  # zero before training
    with pytest.raises(RunError, match="holds no run"):
        load_trained(tmp_path)
    first = (folder / "result.json").read_bytes()
    monkeypatch.chdir("/")
    capsys.readouterr()
    assert run("--run-dir", folder, "--resume") == 0  # with the options that it was started with
    assert "training: was finished at step 1 of 1" in capsys.readouterr().err
    assert (folder / "result.json").read_bytes() == first
    refuses(capsys, 2, "is not empty: resume it", "--data", pictures, "--run-dir", folder, *TINY)
    refuses(
        capsys,
        2,
        "learning_rate was 0.003 and is now 0.1",
        *("--data", pictures, "--run-dir", folder, "--resume", "--learning-rate=0.1"),
    )
    refuses(capsys, 2, "scale was 'quick' and is now 'full'", "--run-dir", folder, "--resume", "--scale=full")
    assert main(["run", "relax-toy", "--run-dir", str(folder), "--resume"]) == 2
    assert "holds a run of vae-mnist, not of relax-toy" in capsys.readouterr().err
    assert main(["report", str(folder), str(folder), "--out", str(tmp_path / "two.html")]) == 0
    assert (tmp_path / "two.html").read_text().count("<h2>vae-mnist: run</h2>") == 2


def test_wrong_use(tmp_path, pictures, capsys):
    folder = tmp_path / "run"
    own = ("--run-dir", folder, "--data", pictures)
    refuses(capsys, 2, "Unrecognized options: --latnt-size", *own, "--latnt-size", 3)
    refuses(capsys, 2, "ladder_stages must be at least 1, got -2", *own, *TINY, "--ladder-stages=-2")
    refuses(capsys, 2, "learning_rate must be finite and greater than", *own, *TINY, "--learning-rate=-1")
    refuses(
        capsys,
        2,
        "unknown image data set, file or folder 'mnist-smal'; did you mean 'mnist-small'?",
        "--data=mnist-smal",
    )
    refuses(capsys, 2, "n_deep must be at least 1, got 0", *own, *TINY, "--n-deep=0")
    refuses(capsys, 2, "hidden_size must be at least 1, got 0", *own, *TINY, "--hidden-size=0")
    refuses(capsys, 2, "seed must be at least 0, got -1", *own, *TINY, "--seed=-1")
    refuses(capsys, 2, "there is no file or folder 'my_pictures/'", "--data=my_pictures/")
    refuses(capsys, 2, "co2 holds no training and test pictures", "--data=co2")
    refuses(capsys, 2, "there is no file or folder 'no/such.npz'", "--data=no/such.npz")
    refuses(capsys, 2, "--resume needs --run-dir", "--resume")
    refuses(capsys, 2, "invalid choice", *own, "--scale=huge")
    assert not folder.exists()


def test_bad_data(tmp_path, pictures, capsys):
    def own(path):
        return ("--run-dir", tmp_path / "run", "--data", path, *TINY)

    np.save(tmp_path / "grey.npy", np.full((20, 4, 4), 255.0))
    refuses(capsys, 1, "must lie in [0, 1] for a Bernoulli likelihood", *own(tmp_path / "grey.npy"))
    np.save(tmp_path / "few.npy", np.zeros((3, 4, 4)))
    refuses(capsys, 1, "has 3 pictures; at least 6 are needed", *own(tmp_path / "few.npy"))
    np.save(tmp_path / "flat.npy", np.zeros((30, 16)))
    refuses(capsys, 1, "(image, height, width) are needed", *own(tmp_path / "flat.npy"))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    refuses(capsys, 1, "exactly one array of pictures, it has a, b", *own(tmp_path / "two.npz"))
    (tmp_path / "cut.npz").write_bytes(pictures.read_bytes()[:200])
    refuses(capsys, 1, "cut.npz", *own(tmp_path / "cut.npz"))
    folder = tmp_path / "photos"
    folder.mkdir()
    refuses(capsys, 1, "photos", *own(folder))
    for index, size in enumerate([(4, 4)] * 7 + [(4, 5)]):
        Image.new("L", size).save(folder / f"{index}.png")
    refuses(capsys, 1, "7.png", *own(folder))
    assert not (tmp_path / "run").exists()


def test_zeros_and_ones_in_bytes_are_binary(tmp_path):
    """An 8-bit array of 0 and 1 is not divided by 255."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 2, (12, 3, 3))
    for kind in (np.uint8, bool, np.float64):
        np.save(tmp_path / "bits.npy", pictures.astype(kind))
        digits = load_digits(str(tmp_path / "bits.npy"), seed=0)
        assert digits.train.max() == 1.0
    np.save(tmp_path / "grey.npy", (255 * pictures).astype(np.uint8))
    assert load_digits(str(tmp_path / "grey.npy"), seed=0).train.max() == 1.0
    np.save(tmp_path / "complex.npy", pictures * 1j)
    with pytest.raises(DataError, match="must be real numbers, got complex128"):
        load_digits(str(tmp_path / "complex.npy"), seed=0)


def test_no_write_permission(tmp_path, pictures, capsys):
    (tmp_path / "file").write_text("")
    refuses(capsys, 1, "cannot write a run in", "--run-dir", tmp_path / "file" / "run", "--data", pictures)


def test_data_commands(capsys):
    assert main(["data", "list"]) == 0
    assert "mnist-small" in capsys.readouterr().out
    assert main(["data", "show", "lynx-hare"]) == 0
    assert "BSD-3-Clause" in capsys.readouterr().out
    assert main(["data", "fetch", "lynx-haer"]) == 2
    assert "did you mean 'lynx-hare'?" in capsys.readouterr().err
    assert main(["data", "fetch"]) == 2
    assert "data fetch needs the name of a data set; " in capsys.readouterr().err
    assert main(["report"]) == 2
    assert "needs at least one run directory" in capsys.readouterr().err
    assert main(["report", "no-such-run"]) == 2
    assert "no-such-run holds no run" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(tmp_path, pictures, capsys):
    """A real SIGINT to a real process in the middle of training."""
    import signal

    folder = tmp_path / "run"
    words = [sys.executable, "-m", "backthrough", "run", "vae-mnist", "--data", str(pictures)]
    words += ["--run-dir", str(folder), *TINY, "--ladder-stages=9"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not (folder / "metrics.jsonl").exists():
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "stopped after step" in error
    assert error.rstrip().endswith(f"backthrough run vae-mnist --run-dir {folder} --resume")
    assert any((folder / "checkpoints").glob("*.json"))


def test_devices_and_shards(tmp_path, pictures, capsys):
    """Four virtual devices give the numbers of one with four shards, and may be resumed there."""
    results = []
    for name, options in (("many", ["--devices=4"]), ("one", ["--devices=1", "--shards=4"])):
        own = ["--data", pictures, "--run-dir", tmp_path / name, *TINY, "--batch-size=8", "--n-deep=1"]
        assert run(*own, *options) == 0
        results.append(json.loads((tmp_path / name / "result.json").read_text())["numbers"])
    for many, one in zip(*results, strict=True):
        assert many["value"] == pytest.approx(one["value"], rel=1e-3)
    own = [
        "--data",
        pictures,
        "--run-dir",
        tmp_path / "many",
        "--resume",
        *TINY,
        "--batch-size=8",
        "--n-deep=1",
    ]
    assert run(*own) == 0  # with four shards, as it was started
    capsys.readouterr()
    refuses(capsys, 2, "shards was 4 and is now 1", *own, "--shards=1")
    refuses(capsys, 2, "devices must be at least 1, got 0", *own, "--devices=0")
    refuses(
        capsys,
        2,
        "a batch of 8 rows cannot be cut into 3 shards; the nearest size that can is 9",
        "--data",
        pictures,
        "--run-dir",
        tmp_path / "three",
        *TINY,
        "--batch-size=8",
        "--shards=3",
    )
    assert not (tmp_path / "three").exists()


def test_several_processes_are_asked_for_whole(tmp_path, capsys):
    for options, message in (
        (["--coordinator=localhost:8476"], "need all of --coordinator, --process and --processes"),
        (["--processes=2", "--process=0"], "need all of --coordinator, --process and --processes"),
        (
            ["--coordinator=here", "--processes=2", "--process=0"],
            "coordinator must be HOST:PORT, such as localhost:8476, got 'here'",
        ),
    ):
        refuses(capsys, 2, message, "--run-dir", tmp_path / "run", *options)
    late = ["--coordinator=localhost:9", "--processes=2", "--process=1", "--join-timeout=0.3"]
    refuses(capsys, 1, "process 0 could not be reached at localhost:9 within 0.3 s", *late)
    assert not (tmp_path / "run").exists()
