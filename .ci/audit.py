"""Look for known vulnerabilities: `python .ci/audit.py requirements.txt [pip-audit options]`.

Fails for a finding. Where the service that knows the advisories cannot be reached, or does not know
the packages (mirrors of PyPI often have none), it says that nothing was audited, and succeeds.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WITHOUT_PIP = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")


def audit(requirements: list[str], options: list[str]) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package, or nothing and why it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        listed, answer = Path(folder, "requirements.txt"), Path(folder, "answer.json")
        listed.write_text("\n".join(requirements), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "-r", str(listed), "-o", str(answer)]
        done = subprocess.run(
            [*command, *WITHOUT_PIP, *options], capture_output=True, text=True, check=False
        )
        if not answer.exists():
            return [], (done.stderr.strip() or "no answer").splitlines()[-1]
        packages = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
    if all("skip_reason" in package for package in packages):
        return [], packages[0]["skip_reason"] if packages else "there are no packages"
    return packages, ""


def main(file: str, *options: str) -> int:
    """Print what was found; return 1 for a vulnerability."""
    lines = (line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines())
    requirements = [line for line in lines if line and not line.startswith("#")]
    _, reason = audit(requirements[:1], list(options))  # spares hundreds of vain requests
    packages, reason = ([], reason) if reason else audit(requirements, list(options))
    if reason:
        print(f"NOT audited, there is no service that knows advisories here: {reason}")
        return 0
    known = [package for package in packages if "skip_reason" not in package]
    found = [(package, one) for package in known for one in package["vulns"]]
    for package, one in found:
        fixed = ", ".join(one["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        print(f"not audited: {', '.join(unknown)}")
    print(f"{len(found)} known vulnerabilities in {len(known)} packages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
