"""Two hosts on one machine, joined by a cable, for tests of runs on several machines.

A host is a process with network, host name, process and mount namespaces of its own: its own interfaces (`eth0`, the
ends of one veth pair, and a loopback), its own name, its own process numbers, its own /etc/hosts and /etc/ssh. Files
and cores are shared, as on a cluster with a common file system. When the first process of a host ends, the kernel ends
all others of that host and its interface goes: nothing can be left behind, also where pytest itself is killed.
`start_sshd` and `start_slurm` put real servers on them. Needs root and util-linux; with INTERMEZZO_REQUIRE_HOSTS=1 a
test that lacks something fails instead of being skipped.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import REPOSITORY, environment, wait_until

CARD = "eth0"
ETC = Path(__file__).with_name("etc")  # settings of ssh, sshd and Slurm
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# Process 1 of a host. It collects the orphans of the host, and ends with the test process (setpriv, --kill-child).
FIRST = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount --bind "$2" /etc/hosts
hostname "$1"
ip link set lo up
echo ready
while sleep 3600; do :; done
"""


@dataclass
class Program:
    """A program on a host; what it prints goes to `log`."""

    process: subprocess.Popen
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Host:
    """`pid`: its first process, as seen from outside; `folder`: for its files."""

    name: str
    address: str
    pid: int
    folder: Path

    def start(self, *command: object, **variables: str) -> Program:
        """Starts a program here, in the project's folder, with the environment of a launched run."""
        log = self.folder / f"{self.name}.{time.monotonic_ns()}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                **self._enter(command, GLOO_SOCKET_IFNAME=CARD, **variables), stdout=out, stderr=subprocess.STDOUT
            )
        return Program(process, log)

    def tell(self, *command: object) -> str:
        """Runs a short command here, which must succeed: what it printed."""
        found = subprocess.run(**self._enter(command), capture_output=True, text=True, timeout=30)
        assert found.returncode == 0, f"{self.name}: {command}: {found.stdout}{found.stderr}"
        return found.stdout

    def _enter(self, command: tuple[object, ...], **variables: str) -> dict[str, Any]:
        """Arguments of `subprocess` for a command here."""
        spaces = ("--target", str(self.pid), "--net", "--uts", "--pid", "--mount", "--", "env", f"--chdir={REPOSITORY}")
        around = {**environment(), "PATH": f"{environment()['PATH']}:{PLACES}", **variables}
        return {"args": [_path("nsenter"), *spaces, *map(str, command)], "env": around, "stdin": subprocess.DEVNULL}

    def link(self, state: str) -> None:
        """The cable on this side: `up` or `down`."""
        self.tell("ip", "link", "set", CARD, state)

    def running(self) -> bool:
        """Whether a Python process is here."""
        return "python" in self.tell("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null || true")


def need(*programs: str) -> None:
    """Skips (or fails) the test, and says why, where a host cannot be made or a program is missing."""
    programs = ("ip", "unshare", "nsenter", "setpriv", "mount", "hostname", *programs)
    missing = [program for program in programs if shutil.which(program, path=PLACES) is None]
    reason = None
    if missing:
        reason = f"missing: {', '.join(missing)} (the Debian packages are in .ci/run)"
    else:
        spaces = ["--net", "--uts", "--pid", "--mount", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/run"]
        tried = subprocess.run([_path("unshare"), *spaces], capture_output=True, text=True, timeout=30)
        if tried.returncode:
            reason = f"network namespaces are not allowed here, they need root ({tried.stderr.strip()})"
    if reason:
        (pytest.fail if os.environ.get("INTERMEZZO_REQUIRE_HOSTS") == "1" else pytest.skip)(reason)


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Hosts node-a (10.77.0.1) and node-b (10.77.0.2) while the block runs; their files in `folder`."""
    folder.mkdir()
    names = {"node-a": "10.77.0.1", "node-b": "10.77.0.2"}
    table = folder / "hosts"
    table.write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in names.items()))
    firsts: list[subprocess.Popen] = []
    try:
        made = []
        for name, address in names.items():
            first = subprocess.Popen(
                [_path("setpriv"), "--pdeathsig", "KILL", _path("unshare"), "--net", "--uts", "--pid", "--mount",
                 "--mount-proc", "--fork", "--kill-child", "sh", "-c", FIRST, "sh", name, str(table)],
                env={**os.environ, "PATH": PLACES}, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            firsts.append(first)
            assert first.stdout is not None
            assert first.stdout.readline() == "ready\n", f"{name} does not start"
            pid = int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text())
            made.append(Host(name, address, pid, folder))
        a, b = made
        peer = ["peer", "name", CARD, "netns", str(b.pid)]
        subprocess.run(
            [_path("ip"), "link", "add", CARD, "netns", str(a.pid), "type", "veth", *peer], check=True, timeout=30
        )
        for host in made:
            host.tell("ip", "address", "add", f"{host.address}/24", "dev", CARD)
            host.link("up")
        yield a, b
    finally:
        for first in firsts:
            first.kill()
            first.wait()
            if first.stdout is not None:
                first.stdout.close()


def start_sshd(hosts: tuple[Host, Host], folder: Path) -> None:
    """A real ssh server on every host, with throw-away keys in place of /etc/ssh; they let each other in."""
    folder.mkdir()
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True, timeout=30)
    known = "".join(f"{h.name},{h.address} {(folder / 'host_key.pub').read_text()}" for h in hosts)
    (folder / "known_hosts").write_text(known)
    for name in ("sshd_config", "ssh_config"):
        shutil.copy(ETC / name, folder)
    for host in hosts:
        host.tell("mount", "--bind", folder, "/etc/ssh")
        host.tell(_path("sshd"))  # goes into the background of its host by itself


def start_slurm(hosts: tuple[Host, Host], folder: Path) -> str:
    """A real Slurm over both hosts, its controller on the first: the setting of `SLURM_CONF` for its commands."""
    (folder / "state").mkdir(parents=True)
    config, key = folder / "slurm.conf", folder / "munge.key"
    config.write_text((ETC / "slurm.conf").read_text().format(folder=folder))
    key.write_bytes(os.urandom(64))
    key.chmod(0o400)
    for host in hosts:
        host.tell("mkdir", "--mode=755", "/run/munge")
        files = [f"--key-file={key}", "--seed-file=/run/munge/seed", f"--log-file={folder}/munged.{host.name}.log"]
        host.tell("munged", "--force", *files, "--pid-file=/run/munge/munged.pid")
    setting = f"SLURM_CONF={config}"
    hosts[0].tell("env", setting, "slurmctld")
    for host in hosts:
        host.tell("env", setting, "slurmd")
    wait_until(lambda: hosts[0].tell("env", setting, "sinfo", "-h", "-o", "%T %D") == "idle 2\n", 30, "Slurm is not up")
    return setting


def finish(programs: list[Program], timeout: float) -> tuple[list[int], list[str]]:
    """Exit codes and outputs of programs that must end within `timeout` seconds, all of them together."""
    deadline = time.monotonic() + timeout
    try:
        codes = [p.process.wait(max(0.1, deadline - time.monotonic())) for p in programs]
    except subprocess.TimeoutExpired:
        shown = "\n".join(f"--- {p.log.name}\n{p.text()[-3000:]}" for p in programs)
        raise AssertionError(f"not ended after {timeout} s\n{shown}") from None
    return codes, [p.text() for p in programs]


def _path(program: str) -> str:
    return shutil.which(program, path=PLACES) or program
