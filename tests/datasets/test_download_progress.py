from backthrough.datasets.download_progress import DownloadProgress


def test_progress_has_what_the_downloader_asks_for(capsys):
    with DownloadProgress("a.txt") as progress:
        assert progress.total is None
        progress.total = 100
        progress.update(60)
        progress.reset()
        progress.update(100)
        progress.close()
        assert progress.total == 100
    assert capsys.readouterr().err == ""  # silent when not a terminal
