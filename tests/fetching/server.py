"""A server on this machine that behaves well, or as badly as a test asks it to."""

import gzip
import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

Answer = Callable[["Handler", int], None]  # the request, and how often its path was asked before


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1, so that a connection that ends early is noticed."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            before = server.asked[self.path]
            server.asked[self.path] += 1
            server.headers.append((self.path, dict(self.headers)))
            server.open_now += 1
            server.most_open = max(server.most_open, server.open_now)
        try:
            server.routes.get(self.path, status(404))(self, before)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with server.lock:
                server.open_now -= 1

    def do_HEAD(self) -> None:
        content = self.server.sizes.get(self.path)
        self.send_response(200 if content is not None else 405)
        self.send_header("Content-Length", str(content or 0))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Answer] = {}
        self.sizes: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.open_now = self.most_open = 0

    def handle_error(self, *_: object) -> None:
        """Clients that go away in the middle are what is tested."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def ranges(self, path: str) -> list[str | None]:
        """The Range of each request for a path."""
        return [headers.get("Range") for asked, headers in self.headers if asked == path]


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- answers


def status(code: int, **headers: str) -> Answer:
    def answer(request: Handler, before: int) -> None:
        request.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return answer


def page() -> Answer:
    return whole(b"<!DOCTYPE html><html><body>Please log in</body></html>", content_type="text/html", ranges=False)


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other; the last one stays."""
    return lambda request, before: answers[min(before, len(answers) - 1)](request, before)


def whole(
    content: bytes,
    etag: str | None = None,
    ranges: bool = True,
    content_type: str = "application/octet-stream",
    stop_after: int | None = None,
    stall: float = 0.0,
    piece: int = 1 << 16,
    pause: float = 0.0,
) -> Answer:
    """``content``, from where it is asked; after ``stop_after`` bytes the answer stalls, and then ends."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"' if etag is None else etag

    def answer(request: Handler, before: int) -> None:
        asked, start = request.headers.get("Range"), 0
        if ranges and asked and request.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return status(416, Content_Range=f"bytes */{len(content)}")(request, before)
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Type", content_type)
        request.send_header("Content-Length", str(len(content) - start))
        if etag:
            request.send_header("ETag", etag)
        request.end_headers()
        sent = content[start:] if stop_after is None else content[start : start + stop_after]
        for place in range(0, len(sent), piece):
            request.wfile.write(sent[place : place + piece])
            request.wfile.flush()
            time.sleep(pause)
        if start + len(sent) < len(content):
            time.sleep(stall)
            request.close_connection = True

    return answer


def until_closed(content: bytes) -> Answer:
    """An answer that does not say how long it is, as old servers give: its end is the end of the connection."""

    def answer(request: Handler, before: int) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(content)
        request.close_connection = True

    return answer


# --- content


def zipped(lines: int = 4000) -> bytes:
    """A gzip file that does not shrink much."""
    text = "".join(hashlib.sha256(str(line).encode()).hexdigest() + "\n" for line in range(lines))
    return gzip.compress(text.encode(), mtime=0)


def picture(
    colour: tuple[int, int, int] = (200, 10, 10), size: tuple[int, int] = (40, 30), kind: str = "JPEG"
) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format=kind)
    return buffer.getvalue()
