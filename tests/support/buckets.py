"""An object store on the loopback, which pyarrow takes for S3."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A process of its own: pyarrow holds Python's lock while it waits for an answer.
SERVER = """
import logging
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""

REFUSING = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Refusing(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"<Error><Code>{sys.argv[1]}</Code><Message>No.</Message></Error>".encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_GET

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def refusing_store(code: str) -> Iterator[str]:
    """Start a store that refuses everything with an error code of S3; yield its endpoint."""
    with _served(REFUSING, code) as endpoint:
        yield endpoint


@contextmanager
def _served(program: str, *arguments: str) -> Iterator[str]:
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Start one with a bucket `lake`; yield the variables of the environment that lead to it."""
    with _served(SERVER) as endpoint:
        from pyarrow import fs

        keys = {"access_key": "test", "secret_key": "secret"}
        store = fs.S3FileSystem(
            **keys, region="eu-central-1", endpoint_override=endpoint, allow_bucket_creation=True
        )
        store.create_dir("lake")
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": keys["access_key"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
            "AWS_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
