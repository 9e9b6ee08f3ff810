"""A client that is patient and polite: few connections to a host, pauses as asked, trying again with growing waits."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TypeVar

import httpx
from pydantic import Field

from lmmrec_core import __version__
from lmmrec_core.config import Settings
from lmmrec_core.errors import DataError

Done = TypeVar("Done")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may be another one a minute later
_REDIRECTS = 5


class Manners(Settings):
    """How servers are asked. The defaults are ours: no publisher states a limit."""

    connections: int = Field(8, ge=1, description="open at a time, over all hosts")
    per_host: int = Field(4, ge=1, description="open at a time to one host")
    attempts: int = Field(6, ge=1, description="in a row without a new byte, before an address is given up for now")
    stall: float = Field(30.0, gt=0, description="seconds without a byte after which a connection is given up")
    first_wait: float = Field(1.0, ge=0, description="seconds before the second attempt; doubled for each further one")
    longest_wait: float = Field(300.0, ge=0, description="seconds; a server that asks for more is given up for now")


class Gone(DataError):
    """The address has no such file: asking again will not help."""


class Unreachable(DataError):
    """No answer, or none that can be used, for now: asking later may help."""


class Interrupted(Exception):
    """An attempt that failed and is worth another: why, the pause a server asked for, whether new bytes came."""

    def __init__(self, why: str, after: float | None = None, gained: bool = False) -> None:
        super().__init__(why)
        self.after, self.gained = after, gained


class _Host:
    """One server: its free connections, and the moment before which it wants to be left alone."""

    def __init__(self, connections: int) -> None:
        self.free = threading.Semaphore(connections)
        self.not_before = 0.0


class PoliteClient:
    """Follows redirects, sends nothing but the address and what a caller adds, and keeps no cookies between answers."""

    def __init__(self, manners: Manners | None = None) -> None:
        self.manners = manners or Manners()
        self._hosts: dict[str, _Host] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        limits = httpx.Limits(
            max_connections=self.manners.connections, max_keepalive_connections=self.manners.connections
        )
        self._http = httpx.Client(
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            limits=limits,
            timeout=httpx.Timeout(self.manners.stall, pool=None),
            headers={"User-Agent": f"lmmrec/{__version__}", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> "PoliteClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._http.close()

    def stop(self) -> None:
        """End all pauses, in every thread: those who wait raise Unreachable."""
        self._stopped.set()

    @contextmanager
    def answer(
        self, address: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Iterator[httpx.Response]:
        """One attempt: the answer, its body not read yet. The host's connection is free again after the block.

        Raises Interrupted for what may pass, there and inside the block; Gone for an address without the file.
        """
        host = self._host(address)
        with host.free:
            self._pause(host.not_before - time.monotonic())
            try:
                with self._http.stream(method, address, headers=dict(headers or {})) as response:
                    self._http.cookies.clear()
                    self._judge(response, address, host)
                    yield response
            except (httpx.TransportError, httpx.TooManyRedirects, httpx.InvalidURL) as error:
                told = str(error) or type(error).__name__
                if isinstance(error, (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL)):
                    raise Gone(f"{address}: leads nowhere ({told})") from None
                raise Interrupted(told) from None

    def persistently(self, address: str, attempt: Callable[[], Done]) -> Done:
        """``attempt`` until it succeeds, with growing pauses between; one that gained bytes starts the count anew.

        Raises Gone as ``attempt`` does, Unreachable when the attempts are used up.
        """
        failures = 0
        while True:
            try:
                return attempt()
            except Interrupted as error:
                failures = 1 if error.gained else failures + 1
                if failures >= self.manners.attempts:
                    raise Unreachable(f"{address}: given up after {failures} attempts ({error})") from None
                wait = self.manners.first_wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
                if error.after is not None:
                    if error.after > self.manners.longest_wait:
                        told = f"asks for a pause of {error.after:,.0f} seconds"
                        raise Unreachable(f"{address}: {told} ({error})") from None
                    wait = max(wait, error.after)
                self._pause(min(wait, self.manners.longest_wait))

    def _host(self, address: str) -> _Host:
        try:
            name = httpx.URL(address).netloc.decode("ascii", "replace")
        except (httpx.InvalidURL, ValueError) as error:
            raise Gone(f"{address}: no address ({error})") from None
        with self._lock:
            return self._hosts.setdefault(name, _Host(self.manners.per_host))

    def _judge(self, response: httpx.Response, address: str, host: _Host) -> None:
        status = response.status_code
        if status in _PASSING:
            after = _retry_after(response.headers.get("Retry-After"))
            if after is not None and after <= self.manners.longest_wait:  # whoever else asks this host waits too
                host.not_before = max(host.not_before, time.monotonic() + after)
            raise Interrupted(f"status {status}", after)
        if status >= 400 and status != 416:
            raise Gone(f"{address}: status {status} {response.reason_phrase}".rstrip())

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(max(0.0, seconds)):
            raise Unreachable("stopped")


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait, written as a number or as a date; None for anything else."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
