"""Talks to the API of a running `forestay serve`; whatever goes wrong becomes a `CommandFailed` with the remedy."""

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from forestay.cli.failure import CommandFailed, ExitCode

TIMEOUT_S = 5.0


class ApiClient:
    """A context manager around one HTTP client. Paths are relative to the API's address."""

    def __init__(self, address: str, token: str = "") -> None:
        """Prepare; nothing is connected yet.

        Raises:
            CommandFailed: `address` is not an http or https URL.
        """
        base = address if "://" in address else f"http://{address}"
        try:
            url = httpx.URL(base)
        except httpx.InvalidURL as error:
            raise _bad_address(address, str(error)) from None
        if url.scheme not in ("http", "https") or not url.host:
            raise _bad_address(address, "not an http address")
        self._address = base.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            # A proxy of the environment could not reach a loopback API.
            self._client = httpx.Client(base_url=self._address, headers=headers, timeout=TIMEOUT_S, trust_env=False)
        except UnicodeEncodeError:
            raise CommandFailed("--token: holds characters that HTTP cannot carry", ExitCode.USAGE) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def request(self, method: str, path: str, body: object = None, **query: str | int) -> Any:
        """Ask; returns the decoded JSON answer, None where it is empty.

        Raises:
            CommandFailed: no answer, or one that says no.
        """
        try:
            response = self._client.request(method, path, json=body, params=query or None)
        except httpx.ConnectError:
            raise CommandFailed(
                f"nothing answers at {self._address}: is `forestay serve` running there? "
                "Name its API with --api or FORESTAY_API"
            ) from None
        except httpx.TimeoutException:
            raise CommandFailed(f"{self._address} did not answer within {TIMEOUT_S:g} s; try again") from None
        except httpx.HTTPError as error:
            raise CommandFailed(f"{self._address} does not speak HTTP as it should: {error}; check --api") from None
        if response.is_success:
            return _json(response)
        raise CommandFailed(self._refusal(response))

    def get(self, path: str, **query: str | int) -> Any:
        """`request("GET", ...)`."""
        return self.request("GET", path, **query)

    def cluster(self, named: str = "") -> str:
        """The cluster that is meant: `named`, or the only one there is.

        Raises:
            CommandFailed: there are several and none is named.
        """
        if named:
            return named
        names = [cluster["name"] for cluster in self.get("/v1/clusters")["clusters"]]
        if len(names) == 1:
            return str(names[0])
        known = ", ".join(names) or "none"
        raise CommandFailed(f"name a cluster with --cluster; there are: {known}", ExitCode.USAGE)

    def _refusal(self, response: httpx.Response) -> str:
        if response.status_code in (401, 403):
            return f"{self._address} wants its token: give --token or FORESTAY_TOKEN"
        answer = _json(response)
        if not isinstance(answer, dict):  # not forestay's problem document: something else answers there
            return (
                f"{self._address}: {response.status_code} {response.reason_phrase}; is that forestay's API? check --api"
            )
        remedy = answer.get("remedy")
        return f"{answer.get('detail', response.reason_phrase)}" + (f"; {remedy}" if remedy else "")


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _bad_address(address: str, reason: str) -> CommandFailed:
    return CommandFailed(f"--api {address}: {reason}; write e.g. http://127.0.0.1:9900", ExitCode.USAGE)


def _json(response: httpx.Response) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        return response.text[:200]
