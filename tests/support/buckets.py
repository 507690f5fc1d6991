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


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Start one with a bucket `lake`; yield the variables of the environment that lead to it."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            from pyarrow import fs

            endpoint = f"http://127.0.0.1:{port}"
            keys = {"access_key": "test", "secret_key": "secret"}
            store = fs.S3FileSystem(
                **keys,
                region="eu-central-1",
                endpoint_override=endpoint,
                allow_bucket_creation=True,
            )
            store.create_dir("lake")
            yield {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": keys["access_key"],
                "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
                "AWS_REGION": "eu-central-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        finally:
            server.kill()
