"""Two hosts under every launcher of docs/cluster.md: bitwise the weights of one host; a link that is cut and mended.

One module, so that one worker runs it: the hosts have the same addresses in every test.
"""

import json
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

import pytest

from studies import __main__ as studies
from tests.support.hosts import CARD, finish, need, start_slurm, start_sshd, two_hosts
from tests.support.launch import REPOSITORY, environment, program, wait_until
from tests.support.live import differences
from tests.support.small import write_run
from tests.support.target_files import laser

LIMIT = 400  # seconds for a run that takes about 20
FIELDS = {"steps": 40, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
LAUNCHER, TORCHRUN = (Path(sys.executable).with_name(name) for name in ("deepspeed", "torchrun"))


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
def config(tmp_path, tiny_tokenizer_dir):
    return write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "small"


@pytest.fixture(scope="module")
def one_host(tmp_path_factory, tiny_tokenizer_dir):
    """The folder of the run on two ranks of one host, which every other launch of it must equal."""
    folder = tmp_path_factory.mktemp("one_host")
    program("train.py", "--config", write_run(folder, tiny_tokenizer_dir, **FIELDS), ranks=2)
    return folder / "runs" / "small"


@pytest.mark.slow
def test_deepspeed_over_pdsh_and_sshd(hosts, hostfile, tmp_path, config, folder, one_host):
    """One command on the first host; what the ranks need of the environment stands in `.deepspeed_env`."""
    need("pdsh", "ssh", "ssh-keygen", "sshd")
    start_sshd(hosts, tmp_path / "ssh")
    own = ("PATH", "DS_ACCELERATOR", "OMP_NUM_THREADS", "TORCH_EXTENSIONS_DIR", "TOKENIZERS_PARALLELISM")
    variables = {name: environment()[name] for name in own} | {"GLOO_SOCKET_IFNAME": "eth0"}
    exported = tmp_path / ".deepspeed_env"
    exported.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    command = [LAUNCHER, "--hostfile", hostfile, "train.py", "--config", config]
    codes, printed = finish([hosts[0].start(*command, DS_ENV_FILE=str(exported))], LIMIT)
    assert codes == [0], printed
    assert "node-b: " in printed[0], "pdsh did not reach the second host"
    assert not differences(folder, one_host)


@pytest.mark.slow
def test_without_ssh_the_link_goes_down_and_comes_up(hosts, hostfile, config, folder, one_host):
    """`deepspeed --no_ssh` on each host: both end with one sentence; once the link is up `torchrun` resumes.

    The same command of it on both hosts: they find each other through its own rendezvous.
    """
    silence = 8
    command = ["train.py", "--config", config, "--set", f"silence={silence}"]
    options = ["--hostfile", hostfile, "--no_ssh", "--master_addr", hosts[0].address]
    sides = [host.start(LAUNCHER, *options, "--node_rank", rank, *command) for rank, host in enumerate(hosts)]
    wait_until((folder / "checkpoints" / "step-00000004").exists, LIMIT, "no checkpoint")
    hosts[0].link("down")
    # What mtl/distributed/watchdog.py states: silence + 15 s, and 30 that a launcher may wait before it kills.
    codes, printed = finish(sides, silence + 15 + 30)
    for code, text in zip(codes, printed, strict=True):
        assert code not in (0, None), text
        assert len(re.findall(r"(?:^|[\r\n])error: ", text)) == 1, text
        assert "Traceback" not in text, text
    assert not (folder / "done").exists()
    # Also a moment later: a launcher looks once a second whether its ranks have ended.
    wait_until(lambda: not any(host.running() for host in hosts), 5, "something still runs")

    hosts[0].link("up")
    options = ["--nnodes", 2, "--nproc_per_node", 1, "--rdzv_backend", "c10d", "--rdzv_endpoint", "node-a:29400"]
    codes, printed = finish([host.start(TORCHRUN, *options, "--rdzv_id", "test", *command) for host in hosts], LIMIT)
    assert codes == [0, 0], printed
    assert "resuming" in "".join(printed)
    assert not differences(folder, one_host)


@pytest.fixture
def short_path():
    """A folder near the root: Slurm's sockets lie in it, and the path of one has at most 108 characters."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def slurm(short_path, hosts):
    """A real Slurm over both hosts: what runs a script that is stopped by USR1 once, and queued again, to its end."""
    need("munged", "slurmctld", "slurmd", "srun")
    setting = start_slurm(hosts, short_path / "slurm")

    def ask(*command):
        return hosts[0].tell("env", setting, *command)

    def run(script, reached, logs, element="", jobs=1):
        """`reached`: whether to stop it, or one `element` ("_2") of its array; `logs`: for who reads a failure."""
        job = ask("sbatch", "--parsable", script).strip()

        def story() -> str:
            paths = [*logs(), *(short_path / "slurm").glob("slurm*.log")]
            shown = [f"{path}:\n{path.read_text()[-4000:]}" for path in paths]
            return "\n".join([ask("scontrol", "show", "job", job), *shown])

        wait_until(reached, LIMIT, story)
        ask("scancel", "--signal=USR1", job + element)  # as --signal does: to the ranks, not to the script
        wait_until(lambda: "Restarts=1" in ask("scontrol", "show", "job", job + element), 200, story)
        again = time.monotonic() + 3

        def completed() -> bool:
            state = ask("scontrol", "show", "job", job)
            assert "JobState=FAILED" not in state, story()
            if "JobState=PENDING" in state and time.monotonic() > again:
                # Slurm waits two minutes before it starts a job again, and may say so once more while it puts it back.
                # Some time there must be: nodes refuse a job that starts in the second in which its first round ended.
                ask("sh", "-c", f"scontrol update JobId={job}{element} StartTime=now || true")
            return state.count("JobState=COMPLETED") == jobs

        wait_until(completed, LIMIT, story)

    return run


@pytest.mark.slow
def test_the_batch_script_of_the_docs(slurm, config, folder, one_host, tmp_path):
    """docs/cluster.md's script but for sizes and names, under a real Slurm: stopped by USR1, requeued, resumed."""
    shown = re.search(r"```bash\n(#!/bin/bash\n.*?)```", (REPOSITORY / "docs" / "cluster.md").read_text(), re.DOTALL)
    assert shown is not None
    script = shown[1]
    for old, new in {
        "--nodes=8": "--nodes=2",
        "--ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=12": "--ntasks-per-node=1 --cpus-per-task=1",
        "source .venv/bin/activate\n": "",
        "runs/mtl_all_large/done": shlex.quote(str(folder / "done")),
        "mtl_all_large.json": shlex.quote(str(config)),
        "=%x.out": f"={tmp_path / 'job.out'}",
        "=ib0": f"={CARD}",
    }.items():
        assert old in script, old
        script = script.replace(old, new)
    path = tmp_path / "job.sh"
    path.write_text(script)
    slurm(path, (folder / "checkpoints" / "step-00000004").exists, lambda: tmp_path.glob("job.out"))
    assert "resuming" in (tmp_path / "job.out").read_text()
    assert not differences(folder, one_host)


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_an_array_of_a_study(slurm, one_host, tmp_path, tiny_tokenizer_dir):
    """`python -m studies slurm`: every element of the array ends; one is stopped by USR1, queued again and goes on."""
    config = write_run(tmp_path, tiny_tokenizer_dir, encoder=str(one_host / "encoder"))
    laser(tmp_path / "tests" / "tatoeba", "deu", [(f"the river {n}", f"der Fluss {n}") for n in range(9)])
    study, out = tmp_path / "study.json", tmp_path / "out"
    values = {
        "name": "array", "asks": "Does it?", "base": str(config), "baseline": "none", "hold": None, "seeds": [1],
        "common": {"steps": 500, "checkpoint": {"every": 100}, "evaluate": {"every": 500}},
        "variants": {"none": {"train": False}, "long": {}},
        "evaluate": {"suite": "tatoeba", "data": [str(tmp_path / "tests")]}, "compare": {"primary": ["tatoeba"]},
    }  # fmt: skip
    study.write_text(json.dumps(values))
    assert studies.main([str(study), "slurm", "--out", str(out)]) == 0
    path = out / "studies" / "array" / "slurm.sh"
    script = path.read_text()
    activate = next(line for line in script.splitlines() if line.startswith("source "))
    path.write_text(script.replace(activate, ""))
    pool = out / "studies" / "runs"

    def logs() -> list[Path]:
        return [*path.parent.glob("slurm-*.out"), *pool.glob("*/study.log")]

    slurm(path, lambda: any(pool.glob("*/checkpoints/step-00000100")), logs, "_2", 2)
    assert (len(list(pool.glob("*/done"))), len(list(pool.glob("*/eval-*/scores.json")))) == (1, 2)
    assert any("resuming" in log.read_text() for log in pool.glob("*/study.log"))
