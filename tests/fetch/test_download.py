"""Downloads against a server on this machine that misbehaves on request, and mirrors of every form."""

import gzip
import hashlib
import lzma
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.stages.fetch.downloads import bring as download
from components.stages.fetch.downloads import published, transfer
from components.stages.fetch.downloads.published import Published

BODY = random.Random(0).randbytes(600_000)
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``. ``server.faults[path]`` is a list of misdeeds, one a request; then it behaves."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        faults = self.server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else ""
        body = self.server.files.get(self.path)
        if fault.isdigit():
            return self.send_error(int(fault))
        if fault.startswith("to "):
            return self._head(302, {"Location": fault[3:]})
        if body is None:
            return self.send_error(404)
        start = 0 if fault == "ignore range" else self._start()
        if start >= len(body):
            return self._head(416, {"Content-Range": f"bytes */{len(body)}"})
        headers = {"Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._head(206 if start else 200, headers)
        end = (start + len(body)) // 2 if fault in ("break", "reset", "stall") else len(body)
        self.wfile.write(body[start:end])
        if fault == "stall":
            time.sleep(1.0)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        return None

    def _start(self):
        wanted = self.headers.get("Range")
        return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a reset connection is what we asked for
    server.files, server.faults, server.asked = {"/set/file.bin": BODY}, {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def file_at(*urls, checksum=MD5):
    return Published("set", "file.bin", checksum, urls)


def left_over(tmp_path):
    return sorted(path.name for path in (tmp_path / "downloads").glob("*.part"))


@pytest.mark.parametrize("checksum", [MD5, hashlib.sha256(BODY).hexdigest()])
def test_file_with_the_right_sum_arrives_and_leaves_no_part(server, tmp_path, checksum):
    download.bring(file_at(f"{server.url}/set/file.bin", checksum=checksum), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("place", [0, 5, 31])
def test_a_sum_that_differs_in_one_digit_is_refused(server, tmp_path, place):
    other = f"{MD5[:place]}{'0' if MD5[place] != '0' else '1'}{MD5[place + 1 :]}"
    with pytest.raises(ValueError, match=rf"the md5 of file\.bin is {MD5}, expected {other}"):
        download.bring(file_at(f"{server.url}/set/file.bin", checksum=other), tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("fault", ["break", "stall"])
def test_broken_transfer_goes_on_where_it_broke(server, tmp_path, fault):
    server.faults["/set/file.bin"] = [fault]
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-"]


def test_reset_connection_is_tried_again(server, tmp_path):
    server.faults["/set/file.bin"] = ["reset", "reset"]
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert len(server.asked) == 3


def test_server_that_ignores_range_starts_over(server, tmp_path):
    server.faults["/set/file.bin"] = ["break", "ignore range"]
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert server.asked[1] == ("/set/file.bin", "bytes=300000-")


def test_busy_server_is_asked_again_with_doubled_waits(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: waits.append(seconds) if seconds < 0.5 else None)
    server.faults["/set/file.bin"] = ["503", "500", "429"]
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert waits == [0.01, 0.02, 0.04]


def test_always_busy_server_ends_in_an_error(server, tmp_path):
    server.faults["/set/file.bin"] = ["503"] * 20
    with pytest.raises(ValueError, match=r"file\.bin cannot be had: .*503"):
        download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert len(server.asked) == transfer.MAX_ATTEMPTS


def test_missing_file_is_asked_for_once_and_the_error_says_what_to_do(server, tmp_path):
    with pytest.raises(ValueError, match=r"/nothing: the server answers 404.*DATA_MIRROR is not set"):
        download.bring(file_at(f"{server.url}/nothing"), tmp_path / "got")
    assert len(server.asked) == 1


def test_no_network_names_address_and_mirror(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ValueError, match=rf"set/file\.bin cannot be had: http://127\.0\.0\.1:{port}/x: .*refused.*DATA_MIRROR"):
        download.bring(file_at(f"http://127.0.0.1:{port}/x"), tmp_path / "got")


def test_wrong_sum_names_file_and_both_sums_and_keeps_nothing(server, tmp_path):
    server.files["/set/file.bin"] = b"something else"
    found = hashlib.md5(b"something else").hexdigest()
    with pytest.raises(ValueError, match=f"file.bin is {found}, expected {MD5}"):
        download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert left_over(tmp_path) == []
    assert not list(tmp_path.glob("got*"))


def test_addresses_are_tried_in_order(server, tmp_path):
    server.files |= {"/wrong": b"wrong", "/right": BODY}
    urls = [f"{server.url}/{name}" for name in ("nothing", "wrong", "right", "never")]
    download.bring(file_at(*urls), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert [path for path, _ in server.asked] == ["/nothing", "/wrong", "/right"]


def test_part_of_an_earlier_run_is_continued(server, tmp_path):
    part = tmp_path / "downloads" / f"{MD5}.part"
    part.parent.mkdir()
    part.write_bytes(BODY[:599_999])
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert server.asked == [("/set/file.bin", "bytes=599999-")]


def test_complete_part_needs_no_bytes(server, tmp_path):
    part = tmp_path / "downloads" / f"{MD5}.part"
    part.parent.mkdir()
    part.write_bytes(BODY)
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY


@pytest.mark.parametrize("stale", [b"of another file", BODY + b"too long"])
def test_part_of_another_file_is_thrown_away(server, tmp_path, stale):
    part = tmp_path / "downloads" / f"{MD5}.part"
    part.parent.mkdir()
    part.write_bytes(stale)
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY


def test_interrupted_download_keeps_its_part_for_the_next_run(server, tmp_path):
    server.faults["/set/file.bin"] = ["break", *["503"] * (transfer.MAX_ATTEMPTS - 1)]
    with pytest.raises(ValueError, match="503"):
        download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert left_over(tmp_path) == [f"{MD5}.part"]
    server.asked.clear()
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert server.asked == [("/set/file.bin", "bytes=300000-")]


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/file", "file:///etc/hostname"])
def test_other_schemes_are_refused_also_after_a_redirect(server, tmp_path, address):
    with pytest.raises(ValueError, match="only http and https"):
        download.bring(file_at(address), tmp_path / "got")
    server.faults["/set/file.bin"] = [f"to {address}"] * transfer.MAX_ATTEMPTS
    with pytest.raises(ValueError, match="cannot be had"):
        download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")


def test_redirect_to_http_is_followed(server, tmp_path):
    server.faults["/moved"] = [f"to {server.url}/set/file.bin"]
    download.bring(file_at(f"{server.url}/moved"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY


PACKINGS = {"": lambda body: body, ".gz": gzip.compress, ".xz": lambda body: lzma.compress(body, preset=0)}


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("place", ["set/file.bin", "file.bin"])
def test_mirror_of_every_form(server, tmp_path, monkeypatch, suffix, place):
    held = PACKINGS[suffix](BODY)
    server.files = {f"/mirror/{place}{suffix}": held}
    path = tmp_path / "mirror" / (place + suffix)
    path.parent.mkdir(parents=True)
    path.write_bytes(held)
    for mirror in (tmp_path / "mirror", f"{server.url}/mirror/"):
        monkeypatch.setenv("DATA_MIRROR", str(mirror))
        download.bring(file_at("http://127.0.0.1:1/never"), tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == BODY
        (tmp_path / "got").unlink()
    assert path.read_bytes() == held


def test_mirror_comes_before_the_addresses(server, tmp_path, monkeypatch):
    (tmp_path / "file.bin").write_bytes(BODY)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert server.asked == []


def test_wrong_copies_in_a_mirror_are_reported_and_the_address_asked(server, tmp_path, monkeypatch, caplog):
    wrong = {"file.bin": b"another set's file", "file.bin.gz": gzip.compress(BODY)[:-9], "file.bin.xz": b"no xz"}
    for name, held in wrong.items():
        (tmp_path / name).write_bytes(held)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    download.bring(file_at(f"{server.url}/set/file.bin"), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert len(server.asked) == 1
    assert all(f"{tmp_path / name}: " in caplog.text for name in wrong)


@pytest.mark.parametrize("mirror", ["ftp://somewhere/data", "/no/such/folder"])
def test_mirror_that_cannot_be_one_is_an_error(tmp_path, monkeypatch, mirror):
    monkeypatch.setenv("DATA_MIRROR", mirror)
    with pytest.raises(ValueError, match=f"DATA_MIRROR={mirror}: .*allowed: a folder, or an http"):
        download.bring(file_at(), tmp_path / "got")


def test_checksum_is_of_the_kind_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")  # RFC 1321, A.5 and FIPS 180-2, B.1
    assert published.checksum(tmp_path / "file", "0" * 32) == "900150983cd24fb0d6963f7d28e17f72"
    assert published.checksum(tmp_path / "file", "0" * 64).startswith("ba7816bf8f01cfea414140de5dae2223")
