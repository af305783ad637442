import functools
import gzip
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import fetch
from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.fetching import fetch_entry
from backthrough.datasets.loading import load_entry
from backthrough.datasets.text_loaders import read_text

TEXT = b"ACGT\n" * 50_000


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves a folder on this machine; gives the folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def entry_for(path: str, url: str | None, content: bytes = TEXT) -> Entry:
    file = DataFile(path, hashlib.sha256(content).hexdigest(), url)
    return Entry("tiny", "s", "s", "free", "Somebody.", "https://example.org", (file,), read_text)


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("served", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("kept", ["set/b.txt", "set/b.txt.gz"])
def test_fetched_file_is_kept_in_the_form_of_its_name(server, no_data, served, kept):
    folder, address = server
    (folder / served).write_bytes(gzip.compress(TEXT) if served.endswith(".gz") else TEXT)
    entry = entry_for(kept, f"{address}/{served}")
    (path,) = fetch_entry(entry)
    assert path == no_data / kept
    stored = path.read_bytes()
    assert (gzip.decompress(stored) if kept.endswith(".gz") else stored) == TEXT
    assert load_entry(entry).text.encode() == TEXT
    assert files_in(no_data) == [path.name]


def test_file_at_hand_is_not_fetched_again(server, no_data):
    folder, address = server
    (folder / "a.txt").write_bytes(TEXT)
    entry = entry_for("set/a.txt", f"{address}/a.txt")
    first = fetch_entry(entry)
    (folder / "a.txt").unlink()
    assert fetch_entry(entry) == first


def test_wrong_content_is_not_placed(server, no_data):
    folder, address = server
    (folder / "a.txt").write_bytes(TEXT + b"x")
    with pytest.raises(DataError, match=r"a\.txt does not hold what it should.*expected"):
        fetch_entry(entry_for("set/a.txt", f"{address}/a.txt"))
    assert files_in(no_data) == []


def test_cut_off_archive_is_not_placed(server, no_data):
    folder, address = server
    (folder / "a.txt.gz").write_bytes(gzip.compress(TEXT)[:-20])
    with pytest.raises(DataError, match=r"a\.txt\.gz is damaged or cut off"):
        fetch_entry(entry_for("set/a.txt", f"{address}/a.txt.gz"))
    assert files_in(no_data) == []


def test_connection_that_breaks_off_is_named(no_data, tmp_path):
    class Breaking(QuietHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(TEXT)))
            self.end_headers()
            self.wfile.write(TEXT[:1000])

    with ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(DataError, match=r"cannot download .*/a\.txt to"):
            fetch_entry(entry_for("set/a.txt", f"http://127.0.0.1:{serving.server_port}/a.txt"))
        serving.shutdown()
    assert files_in(no_data) == []


def test_missing_page_is_named(server, no_data):
    _, address = server
    with pytest.raises(DataError, match=r"cannot download .*/none\.txt.*404"):
        fetch_entry(entry_for("set/a.txt", f"{address}/none.txt"))


def test_damaged_file_at_hand_is_named_not_replaced(server, no_data):
    folder, address = server
    (folder / "a.txt").write_bytes(TEXT)
    (no_data / "set").mkdir(parents=True)
    (no_data / "set" / "a.txt").write_bytes(b"damaged")
    with pytest.raises(DataError, match="Remove it and get it again"):
        fetch_entry(entry_for("set/a.txt", f"{address}/a.txt"))


def test_without_address_says_what_to_do(no_data):
    with pytest.raises(DataError, match=r"(?s)tfbind8 cannot be downloaded.*tfbind8_escores\.npz"):
        fetch("tfbind8")


def test_bundled_needs_no_download(no_data):
    (path,) = fetch("co2")
    assert path.name == "co2_maunaloa_weekly.csv"


def test_unknown_name():
    with pytest.raises(ArgumentError, match="unknown data set 'mnits'"):
        fetch("mnits")
