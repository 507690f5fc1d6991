"""The audit of dependencies: a finding fails it, a service out of reach does not."""

import json
import subprocess
import sys

import pytest

from tests.support.loopback import Reply, serving
from tests.support.places import ROOT

FOUND = {
    "id": "PYSEC-1",
    "affected": [
        {
            "package": {"name": "demo", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


@pytest.fixture
def audit(tmp_path):
    """Audit demo 1.0 with a service at an address; return the exit status and what was said."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("demo==1.0 ; python_version >= '3.11'\nother==2.0\n")

    def run(port):
        service = ["-s", "osv", "--osv-url", f"http://127.0.0.1:{port}/v1/query"]
        done = subprocess.run(
            [sys.executable, ROOT / ".ci" / "audit.py", requirements, *service],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (Reply("{}"), 0, "0 known vulnerabilities in 2 packages"),
        (Reply(json.dumps({"vulns": [FOUND]})), 1, "demo 1.0: PYSEC-1, fixed in 1.1"),
        (Reply("busy", status=503), 0, "NOT audited"),
    ],
    ids=["clean", "found", "failing"],
)
def test_a_finding_fails_the_audit(audit, reply, code, said):
    with serving(lambda _: reply) as port:
        found, printed = audit(port)
    assert (found, said in printed) == (code, True), printed


def test_a_service_out_of_reach_is_said_and_fails_nothing(audit):
    code, printed = audit(1)
    assert code == 0
    assert printed.startswith("NOT audited, there is no service that knows advisories here:")
