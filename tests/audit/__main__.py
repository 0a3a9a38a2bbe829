"""``make check``'s last step: pip-audit over the lock. A known vulnerability fails it, unless ignored.txt gives a reason.

No network is no failure: where the vulnerability service does not answer, one line says that nothing was looked up. The lock
is read as it is, so that nothing is installed or resolved.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = Path(__file__).with_name("ignored.txt")
# How pip-audit ends where the service is out of reach: its own words, or the traceback of requests.
UNREACHABLE = ("Could not connect", "ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "ServiceError")


def main(lock: Path, ignored: Path, *options: str) -> int:
    """Print the findings; 1 if there are any. ``options`` go on to pip-audit."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", *options]
    for name in reasons(ignored):
        command += ["--ignore-vuln", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        if any(sign in last for sign in UNREACHABLE):
            print(f"skipped: known vulnerabilities of {lock.name}: the service does not answer ({last.partition(':')[0]})")
            return 0
        print(done.stderr, file=sys.stderr)
        return done.returncode or 1
    packages = json.loads(done.stdout)["dependencies"]
    found = [(package, fault) for package in packages for fault in package.get("vulns", [])]
    for package, fault in found:
        mended = ", ".join(fault["fix_versions"]) or "none"
        print(f"{package['name']}=={package['version']}: {fault['id']}, mended in: {mended}")
    print(f"{len(packages)} packages of {lock.name}, {len(found)} known vulnerabilities, {len(reasons(ignored))} ignored")
    return 1 if found else 0


def reasons(ignored: Path) -> dict[str, str]:
    """Identifier -> why it is ignored; ValueError for one without a reason."""
    lines = [line.strip() for line in ignored.read_text(encoding="utf-8").splitlines()]
    found = dict((*line.split(maxsplit=1), "")[:2] for line in lines if line and not line.startswith("#"))
    for name, reason in found.items():
        if not reason:
            raise ValueError(f"{ignored}: {name} needs a reason on its line")
    return found


if __name__ == "__main__":
    sys.exit(main(ROOT / "requirements.lock", IGNORED))
