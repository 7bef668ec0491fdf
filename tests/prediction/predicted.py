"""`skingpt4 predict`, in this process or in processes of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from skingpt4.commands import predict

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> int:
    """In this process, errors raised."""
    parser = argparse.ArgumentParser()
    predict.add(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


def started(*arguments: object, processes: int = 1) -> subprocess.Popen:
    """In processes of its own, which write each batch at once."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), __file__, *map(str, arguments)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    from skingpt4.prediction import parts

    parts.SECONDS_PER_PART = 0.0
    raise SystemExit(run(*sys.argv[1:]))
