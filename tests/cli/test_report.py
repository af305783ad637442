from backthrough.cli.main import main
from backthrough.train import Run


def test_a_page_of_several_runs_replaces_no_other(tmp_path, monkeypatch, capsys):
    for name in ("a", "b", "c", "d"):
        Run(tmp_path / name, config={"recipe": "own"})
    monkeypatch.chdir(tmp_path)

    def page(*words):
        assert main(["report", *words]) == 0
        return capsys.readouterr().out.strip()

    assert page("a") == "a/report.html"
    before = (tmp_path / "a" / "report.html").read_bytes()
    assert page("a", "b") == "report-a-b.html"
    assert page("a/", "b") == "report-a-b-2.html"
    assert page("a", "b", "c", "d") == "report-a-and-3-more.html"
    assert page("a", "b", "--out", "own.html") == "own.html"
    assert (tmp_path / "a" / "report.html").read_bytes() == before
    assert "own: b" in (tmp_path / "report-a-b.html").read_text()
    assert not (tmp_path / "b" / "report.html").exists()
