"""A git server for the inside of a sandbox: smart HTTP on loopback, for one user with one password."""

import base64
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCOUNT = "Basic " + base64.b64encode(b"someone:pass-word").decode()
_VARIABLES = {
    "CONTENT_TYPE": "Content-Type",
    "CONTENT_LENGTH": "Content-Length",
    "HTTP_CONTENT_ENCODING": "Content-Encoding",
    "HTTP_GIT_PROTOCOL": "Git-Protocol",
}


class Handler(BaseHTTPRequestHandler):
    """Hands every request to git-http-backend(1)."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == ACCOUNT:
            self._serve()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_POST = do_GET  # noqa: N815 - the names are http.server's

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        backend = subprocess.run(
            ["git", "http-backend"], env=self._environment(), input=body, stdout=subprocess.PIPE, check=True
        )
        head, _, content = backend.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _environment(self) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        own = {
            "GIT_PROJECT_ROOT": sys.argv[1],
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": "someone",
        }
        given = {name: self.headers[header] for name, header in _VARIABLES.items() if self.headers[header]}
        return dict(os.environ) | own | given


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8418), Handler).serve_forever()
