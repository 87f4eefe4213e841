"""Engines that follow each other in one process do not add up."""

from tests.support.launch import REPOSITORY, program
from tests.support.small import write_run

FILES = ["zero2_cpu.json", "zero1.json", "zero0.json"]


def test_nothing_of_an_engine_stays(tmp_path, tiny_tokenizer_dir):
    path = write_run(tmp_path, tiny_tokenizer_dir)
    printed = program(REPOSITORY / "tests" / "support" / "lifetime_worker.py", path, *FILES).stdout
    for file in FILES:
        assert f"{file} left: nothing\n" in printed
