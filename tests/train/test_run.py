import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backthrough.core import ArgumentError, RunError
from backthrough.train import Number, Run, mean_number


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1
    sizes: tuple[int, ...] = (2, 3)


def test_a_run_is_a_directory_of_readable_files(tmp_path):
    run = Run(tmp_path / "a" / "b", config=Config())
    assert json.loads((run.path / "config.json").read_text()) == {"rate": 0.1, "sizes": [2, 3]}
    (environment,) = json.loads((run.path / "environment.json").read_text())
    assert {"command", "machine", "devices", "libraries", "started"} <= environment.keys()
    Run(run.path, config=Config(), resume=True)
    assert len(json.loads((run.path / "environment.json").read_text())) == 2


def test_a_directory_in_use_is_refused_unless_resumed(tmp_path):
    Run(tmp_path, config=Config())
    with pytest.raises(ArgumentError, match="is not empty: resume it"):
        Run(tmp_path, config=Config())
    Run(tmp_path, config=Config(), resume=True)


def test_resuming_an_empty_directory_or_one_killed_at_its_first_write_is_fine(tmp_path):
    (tmp_path / ".tmp-config.json").write_text("{")
    Run(tmp_path, config=Config(), resume=True)


def test_resuming_with_another_configuration_names_the_field(tmp_path):
    Run(tmp_path, config=Config())
    with pytest.raises(ArgumentError, match=r"rate was 0.1 and is now 0.2"):
        Run(tmp_path, config=Config(rate=0.2), resume=True)
    with pytest.raises(ArgumentError, match=r"sizes was \[2, 3\] and is now 'absent'"):
        Run(tmp_path, config={"rate": 0.1}, resume=True)


def test_a_directory_of_something_else_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArgumentError, match="holds no run"):
        Run(tmp_path, config=Config(), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_permission_and_a_file_in_the_way_are_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write a run in .*file"):
        Run(tmp_path / "file", config=Config())
    with pytest.raises(RunError, match="cannot write a run in .*Not a directory"):
        Run(tmp_path / "file" / "below", config=Config())

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError, match="cannot write a run in .*: Permission denied"):
        Run(tmp_path / "new", config=Config())


def test_damaged_files_are_named(tmp_path):
    Run(tmp_path, config=Config())
    (tmp_path / "config.json").write_text('{"rate"')
    with pytest.raises(RunError, match=r"config.json is not JSON"):
        Run(tmp_path, config=Config(), resume=True)


def test_what_cannot_be_json_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="cannot be written as JSON"):
        Run(tmp_path, config={"function": print})


def test_what_is_odd_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="must be a dataclass or a mapping"):
        Run(tmp_path / "a", config=[1, 2])
    with pytest.raises(ArgumentError, match="^rate cannot be written as JSON"):
        Run(tmp_path / "a", config={"rate": float("nan")})
    run = Run(tmp_path / "a")
    with pytest.raises(ArgumentError, match="need different names"):
        run.save_result([Number("a", 1.0, "", ""), Number("a", 2.0, "", "")])
    with pytest.raises(ArgumentError, match="cannot be written as JSON"):
        run.save_result([Number("a", float("nan"), "", "")])
    monkeypatch.chdir(tmp_path)
    relative = Run("b")
    monkeypatch.chdir("/")
    relative.save_result([Number("a", 0.5, "", "")])
    assert (tmp_path / "b/result.json").exists()


def test_numbers_and_figures(tmp_path):
    run = Run(tmp_path)
    values = np.array([1.0, 2.0, 3.0, 4.0])
    number = mean_number("bound", values, "nats", "over four")
    assert number.value == 2.5
    assert number.standard_error == pytest.approx(np.sqrt(5 / 3 / 4))
    run.save_result([number, Number("count", 3.0, "", "counted")])
    (first, second) = json.loads((tmp_path / "result.json").read_text())["numbers"]
    assert (first["value"], first["n"], second["standard_error"]) == (2.5, 4, None)
    images = np.zeros((2, 3, 5, 4), np.float32)
    images[1, 2] = 1
    path = run.figures.save_images("grid", images, caption="Two rows.")
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (2 * 7 + 2, 3 * 6 + 2)
    assert (pixels[2:7, 2:6] == 255).all()
    assert (pixels[9:14, 14:18] == 0).all()
    assert run.figures.captions() == {"grid.png": "Two rows."}
