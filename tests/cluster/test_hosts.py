"""Runs on two hosts under the stock launcher, to the bit like one host; a cable that is pulled and put back."""

import re
import sys
from pathlib import Path

import pytest

from tests.support.hosts import (
    FIELDS,
    LIMIT,
    assert_same_run,
    finish,
    need,
    one_host_run,
    start_sshd,
    two_hosts,
    wait_until,
)
from tests.support.launch import environment
from tests.support.small import write_run

pytestmark = pytest.mark.slow
LAUNCHER = Path(sys.executable).with_name("deepspeed")


@pytest.fixture
def hosts(tmp_path):
    need()
    with two_hosts(tmp_path / "hosts") as made:
        yield made


@pytest.fixture
def hostfile(tmp_path):
    path = tmp_path / "hostfile"
    path.write_text("node-a slots=1\nnode-b slots=1\n")
    return path


@pytest.fixture
def one_host(tiny_tokenizer_dir):
    return one_host_run(tiny_tokenizer_dir)


def without_ssh(hosts, hostfile, *command):
    """The launcher started by hand on each host."""
    options = ["--hostfile", hostfile, "--no_ssh", "--master_addr", hosts[0].address]
    return [host.start(LAUNCHER, *options, "--node_rank", rank, *command) for rank, host in enumerate(hosts)]


def assert_nothing_runs(hosts):
    """Also a moment later: a launcher looks once a second whether its ranks have ended."""
    wait_until(lambda: not any(host.running() for host in hosts), 5, f"left: {[host.running() for host in hosts]}")


def test_without_ssh(hosts, hostfile, tmp_path, tiny_tokenizer_dir, one_host):
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    codes, printed = finish(without_ssh(hosts, hostfile, "train.py", "--config", config), LIMIT)
    assert codes == [0, 0], printed
    assert_same_run(tmp_path / "runs" / "small", one_host)
    assert_nothing_runs(hosts)


def test_over_pdsh_and_sshd(hosts, hostfile, tmp_path, tiny_tokenizer_dir, one_host):
    """One command on the first host; what the ranks need of the environment stands in `.deepspeed_env`."""
    need("pdsh", "ssh", "ssh-keygen", "sshd")
    start_sshd(hosts, tmp_path / "ssh")
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    own = ("PATH", "DS_ACCELERATOR", "OMP_NUM_THREADS", "TORCH_EXTENSIONS_DIR", "TOKENIZERS_PARALLELISM")
    variables = {name: environment()[name] for name in own} | {"GLOO_SOCKET_IFNAME": "eth0"}
    exported = tmp_path / ".deepspeed_env"
    exported.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    command = [LAUNCHER, "--hostfile", hostfile, "train.py", "--config", config]
    codes, printed = finish([hosts[0].start(*command, DS_ENV_FILE=str(exported))], LIMIT)
    assert codes == [0], printed
    assert "node-b: " in printed[0], "pdsh did not reach the second host"
    assert_same_run(tmp_path / "runs" / "small", one_host)
    assert_nothing_runs(hosts)


def test_the_link_goes_down_and_comes_up(hosts, hostfile, tmp_path, tiny_tokenizer_dir, one_host):
    """Both sides end with a sentence, nothing stays; once the link is up, the same command ends with the same bits."""
    config, silence = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS), 15
    folder = tmp_path / "runs" / "small"
    command = ["train.py", "--config", config, "--set", f"silence={silence}"]
    sides = without_ssh(hosts, hostfile, *command)
    first = folder / "checkpoints" / "step-00000004"
    wait_until(first.exists, LIMIT, "no checkpoint")
    hosts[0].link("down")
    # What mtl/distributed/watchdog.py states: silence + 15 s, and 30 that a launcher may wait before it kills.
    codes, printed = finish(sides, silence + 15 + 30)
    for code, text in zip(codes, printed, strict=True):
        assert code not in (0, None), text
        assert len(re.findall(r"(?:^|[\r\n])error: ", text)) == 1, text
        assert "Traceback" not in text, text
    assert not (folder / "done").exists()
    assert_nothing_runs(hosts)

    hosts[0].link("up")
    codes, printed = finish(without_ssh(hosts, hostfile, *command), LIMIT)
    assert codes == [0, 0], printed
    assert "resuming" in printed[0]
    assert_same_run(folder, one_host)
