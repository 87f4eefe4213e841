"""Monitors the ranks: one that dies or hangs ends all of them, and the first cause is reported once.

Collectives wait up to half an hour for a rank that will never come, and when they fail they fail on every rank, with
a traceback that names none. So each rank has threads that send a heartbeat through the rendezvous store once a second
and check the others: a dead process of the same host is noticed within seconds, one without heartbeat after `silence`
seconds (60 unless the run config says otherwise). The rank that finds a cause claims it in the store; the first to
claim reports it, the others end silently. If the store itself is gone (it lives in rank 0's process, or in torchrun's
agent), one rank of each host reports what it sees.

All processes have ended within `silence` + 15 seconds; a launcher waits 30 more before it kills a stopped one.
"""

import hashlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
from torch.distributed import PrefixStore, Store, TCPStore
from tqdm import tqdm

from common.errors import InputError
from mtl.distributed import collectives
from mtl.distributed.shutdown import Stop, alive

SILENCE = 60.0  # seconds, until the run config says otherwise
_BEAT = 1.0
_GRACE = 4.0  # seconds for a rank to end by itself after another has reported the cause


@dataclass(frozen=True)
class Member:
    """A rank's process. `machine`: equal for processes that can see each other's process ids."""

    rank: int
    host: str
    machine: str
    pid: int
    began: float

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} (process {self.pid})"

    @classmethod
    def here(cls, rank: int) -> "Member":
        boot = Path("/proc/sys/kernel/random/boot_id")
        space = os.readlink("/proc/self/ns/pid") if os.path.exists("/proc/self/ns/pid") else ""
        machine = f"{boot.read_text().strip() if boot.exists() else socket.gethostname()} {space}"
        me = psutil.Process()
        return cls(rank, socket.gethostname(), machine, me.pid, me.create_time())

    def gone(self) -> bool:
        """Whether the process has ended (only for one of the same machine)."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.began) > 1 or not alive(process)
        except psutil.Error:
            return True


class Watchdog:
    """This rank's watchdog. Constructed by a collective call, after the process group."""

    def __init__(self, rank: int, world: int, stop: Stop) -> None:
        self.stop = stop
        self.silence = SILENCE
        self.resume_hint = ""  # where the run can be resumed, for error messages
        self.me = Member.here(rank)
        self.members: list[Member] = collectives.gather(self.me)
        self.local_peers = [m for m in self.members if m.machine == self.me.machine and m.rank != rank]
        self._ended = threading.Event()
        self._report_lock = threading.Lock()
        self._cause = ""  # the claimed cause, once there is one
        self._answered = time.monotonic()  # when the store last answered
        self._heartbeats: dict[int, tuple[int, float]] = {}  # rank -> (count, when it last rose)
        self._report_marker = Path(tempfile.gettempdir(), f".intermezzo-{os.getuid()}-{self._key()}")
        self._store: Store | None = None
        if world > 1:
            self._store = PrefixStore("intermezzo-watch", _client())
            threading.Thread(target=self._beat, daemon=True).start()
        threading.Thread(target=self._check, daemon=True).start()
        collectives.barrier()

    def _key(self) -> str:
        """An id of this host's ranks in this run; unique, as hosts may share a folder."""
        first = min([self.me, *self.local_peers], key=lambda m: m.rank)
        return hashlib.sha256(f"{first.host} {first.machine} {first.pid} {first.began}".encode()).hexdigest()[:16]

    def _beat(self) -> None:
        """Sends this rank's heartbeat and reads the others'. May block for ever, so `_check` decides."""
        assert self._store is not None
        # Rank 0 checks all; the others rank 0 only, or the store would get ranks^2 requests a second.
        others = [m.rank for m in self.members if m.rank != self.me.rank] if self.me.rank == 0 else [0]
        while not self._ended.wait(_BEAT):
            try:
                self._store.add(f"beat/{self.me.rank}", 1)
                for rank in others:
                    beats = self._store.add(f"beat/{rank}", 0)
                    if beats != self._heartbeats.get(rank, (-1, 0.0))[0]:
                        self._heartbeats[rank] = (beats, time.monotonic())
                if self._store.check(["cause"]):
                    self._cause = self._store.get("cause").decode()
            except RuntimeError:  # the store is gone: `_check` sees how long ago it answered
                continue
            self._answered = time.monotonic()

    def _check(self) -> None:
        last = cause_absent = time.monotonic()
        while not self._ended.wait(_BEAT):
            now = time.monotonic()
            if now - last > 10 * _BEAT:  # this process itself was stopped for a while: restart the others' clocks
                self._answered = now
                self._heartbeats = {rank: (beats, now) for rank, (beats, _) in self._heartbeats.items()}
            last = now
            self.stop.check_launcher()
            if self._cause:
                if now - cause_absent > _GRACE:
                    _leave(int(self._cause.partition("|")[0] or 1))
                continue
            cause_absent = now
            for peer in self.local_peers:
                if peer.gone():
                    self._blame(peer, "ended without a word: it was killed, or ran out of memory")
            if self._store is None:
                continue
            for rank, (_, when) in list(self._heartbeats.items()):
                if now - when > self.silence:
                    self._blame(self.members[rank], f"has given no sign of life for {now - when:.0f} s")
            if now - self._answered > self.silence:
                self._blame(self.members[0], f"has not answered for {now - self._answered:.0f} s")

    def _blame(self, member: Member, what: str) -> None:
        """Ends this process because of another one, which is killed if it hangs on this host."""
        if self._ended.is_set():
            return
        if member in self.local_peers and not member.gone():
            with suppress(OSError):
                os.kill(member.pid, signal.SIGKILL)
        self.report(f"{member} {what}", 1)

    def report(self, cause: str, code: int, details: str = "") -> None:
        """Prints `error: cause` unless another rank has reported one, and ends this process with `code`."""
        with self._report_lock:  # never released: one thread of this process reports
            if self._claim(cause, code):
                resume = f"; {self.resume_hint}" if self.resume_hint else ""
                # The line may hold another rank's progress bar: begin a new one.
                tqdm.write(f"\n{details}\nerror: {cause}{resume}".replace("\n\n", "\n"), file=sys.stderr)
                if self.me.rank == 0:
                    time.sleep(2.5 * _BEAT)  # this process may own the store: let the others read the claim
            _leave(code)

    def failed(self, error: BaseException) -> None:
        """Handles an exception of this rank: reported if it is a cause, not if it follows from another rank's."""
        if isinstance(error, collectives.AgreedError):
            return
        if isinstance(error, InputError):
            self.report(str(error), 2)
        if len(self.members) > 1 and _is_communication(error):
            # A killed process of this host is a zombie at once, and `_check` finds it. Rank 0 or another process of
            # this host will find the missing rank, which ends this process.
            time.sleep(3 * _BEAT + self.silence + 5)
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        self.report(f"{self.me}: {first}", 1, "".join(traceback.format_exception(error)))

    def finish(self) -> None:
        """Stops the watchdog (a collective call)."""
        self._ended.set()
        collectives.barrier()

    def _claim(self, cause: str, code: int) -> bool:
        """Whether this rank is the first to report a cause: of all if the store answers, else of its host."""
        if self._cause:
            return False
        won: list[bool] = []
        mine = f"{code}|{self.me.rank}|{cause}"

        def claim() -> None:
            with suppress(RuntimeError):
                assert self._store is not None
                won.append(self._store.compare_set("cause", "", mine).decode() == mine)

        if self._store is not None:
            thread = threading.Thread(target=claim, daemon=True)  # the store may never answer
            thread.start()
            thread.join(5)
            if won and not won[0]:
                return False
        try:  # for ranks of this host that cannot reach the store any more
            self._report_marker.touch(exist_ok=False)
        except FileExistsError:
            return bool(won)
        except OSError:
            pass
        return True


def _client() -> TCPStore:
    """A second connection to the rendezvous store: the process group's may be busy."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=30), wait_for_workers=False)


def _is_communication(error: BaseException) -> bool:
    """Whether an exception comes from a collective, and so is the consequence of another rank's failure."""
    words = ("gloo", "NCCL", "DistBackendError", "Connection", "Broken pipe", "Timed out", "TCPStore")
    text = f"{type(error).__name__} {error}"
    return isinstance(error, RuntimeError) and any(word in text for word in words)


def _leave(code: int) -> None:
    """Ends the process without destructors, which may wait for dead ranks."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
