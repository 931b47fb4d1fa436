"""A client of language servers: it speaks the Language Server Protocol over a server's standard input and output.

    with Client(["ty", "server"], root) as client:
        client.open(path, text)
        items = client.request("textDocument/completion", {...})

It answers what servers ask of an editor on the way: their settings, and leave to report progress.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final, Mapping, Sequence

from typing_extensions import Self

Json = Any  # what a server writes is its own affair

_CAPABILITIES: Final = {
    "general": {"positionEncodings": ["utf-16"]},
    "workspace": {"configuration": True, "workspaceFolders": True},
    "textDocument": {
        "synchronization": {},
        "completion": {
            "contextSupport": True,
            "completionItem": {
                "documentationFormat": ["markdown", "plaintext"],
                "snippetSupport": True,
                "labelDetailsSupport": True,
                "resolveSupport": {"properties": ["documentation", "detail", "additionalTextEdits"]},
            },
        },
        "hover": {"contentFormat": ["markdown", "plaintext"]},
        "signatureHelp": {
            "signatureInformation": {
                "documentationFormat": ["markdown", "plaintext"],
                "parameterInformation": {"labelOffsetSupport": True},
                "activeParameterSupport": True,
            }
        },
    },
}


class ServerError(Exception):
    """A server answered with an error, was silent for too long, or ended."""


class Client:
    """One language server, running.

    Args:
        command: What starts it.
        root: The folder that an editor would have open.
        env: Its whole environment.
        settings: What it is told of each section of the settings that it asks for.
        timeout: How many seconds an answer may take.

    Raises:
        ServerError: It did not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        root: Path,
        env: Mapping[str, str],
        settings: Mapping[str, Json],
        timeout: float = 120.0,
    ) -> None:
        self._settings = settings
        self._timeout = timeout
        self._last = 0
        self._versions: dict[Path, int] = {}
        self._answers: Queue[Json] = Queue()
        self._writing = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the server
        self._process = subprocess.Popen(
            command, cwd=root, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.capabilities: Json = self._initialize(root)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _initialize(self, root: Path) -> Json:
        uri = root.as_uri()
        answer = self.request(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": uri,
                "rootPath": str(root),
                "workspaceFolders": [{"uri": uri, "name": root.name}],
                "capabilities": _CAPABILITIES,
                "initializationOptions": self._settings.get("", {}),
            },
        )
        self.notify("initialized", {})
        return answer["capabilities"]

    def open(self, path: Path, text: str) -> None:
        """Shows it a file, or the file's new text; nothing is written to the disk."""
        version = self._versions[path] = self._versions.get(path, 0) + 1
        document = {"uri": path.as_uri(), "version": version}
        if version == 1:
            self.notify("textDocument/didOpen", {"textDocument": {**document, "languageId": "python", "text": text}})
        else:
            self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    def at(self, method: str, path: Path, line: int, column: int) -> Json:
        """Asks about a place in a file that is open; line and column count from 0."""
        place = {"textDocument": {"uri": path.as_uri()}, "position": {"line": line, "character": column}}
        return self.request(f"textDocument/{method}", place)

    def request(self, method: str, params: Json) -> Json:
        """Asks, and waits for the answer.

        Raises:
            ServerError: The answer is an error, or there is none.
        """
        self._last += 1
        self._send({"id": self._last, "method": method, "params": params})
        while True:
            try:
                answer = self._answers.get(timeout=self._timeout)
            except Empty:
                raise ServerError(f"no answer to {method} in {self._timeout} s.{self._said()}") from None
            if answer is None:
                raise ServerError(f"the server ended before it answered {method}.{self._said()}")
            if answer["id"] != self._last:
                continue  # of a request that was given up
            if "error" in answer:
                raise ServerError(f"{method}: {answer['error']}")
            return answer.get("result")

    def notify(self, method: str, params: Json) -> None:
        """Tells it something, without an answer."""
        self._send({"method": method, "params": params})

    def close(self) -> None:
        """Ends the server: in order where it listens, otherwise by force."""
        try:
            if self._process.poll() is None:
                self._timeout = 5.0
                self.request("shutdown", None)
                self.notify("exit", None)
                self._process.wait(5.0)
        except (ServerError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
        finally:
            self._process.wait()
            self._reader.join(5.0)
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                if stream is not None:
                    stream.close()

    def _said(self) -> str:
        """The end of what it wrote to its standard error."""
        self._errors.seek(0)
        return "\n" + self._errors.read().decode(errors="replace")[-2000:]

    def _send(self, message: dict[str, Json]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        with self._writing:
            try:
                self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                self._process.stdin.flush()
            except BrokenPipeError as error:
                raise ServerError(f"the server has ended.{self._said()}") from error

    def _read(self) -> None:
        """Takes what the server writes, until it writes no more."""
        while (message := self._next()) is not None:
            if "method" not in message:
                self._answers.put(message)
            elif "id" in message:
                try:
                    self._send({"id": message["id"], "result": self._told(message)})
                except (ServerError, ValueError):
                    break
        self._answers.put(None)

    def _next(self) -> Json:
        stream = self._process.stdout
        assert stream is not None
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(stream.read(length)) if length else None

    def _told(self, asked: Json) -> Json:
        """What an editor says to what a server asks: its settings; for the rest, that it may."""
        if asked["method"] != "workspace/configuration":
            return None
        return [self._settings.get(item.get("section", "")) for item in asked["params"]["items"]]
