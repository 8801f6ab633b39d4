"""Rows of a parquet file, in the process of the test; damaged files, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import heron.data.parquet_rows
from heron.data.parquet_rows import read_rows
from heron.errors import DataError
from tests.data.tables import NUMBERS
from tests.tiers import rows

ROOT = Path(__file__).parents[2]
MUTATIONS = """
import json, os, random, resource, sys
import pyarrow.parquet
from pathlib import Path
from heron.data.parquet_rows import read_rows
from heron.errors import DataError
from tests.data.tables import NUMBERS

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
draw, path = random.Random(0), Path(sys.argv[1])
content, counts = path.read_bytes(), {}
for _ in range(int(sys.argv[2])):
    mutated = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        mutated[draw.randrange(len(mutated))] = draw.randrange(256)
    path.write_bytes(mutated)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            read_rows(path, NUMBERS)
            os._exit(0)
        except DataError as error:
            os._exit(1 if len(str(error).splitlines()) == 1 else 2)
        except BaseException:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    counts[code] = counts.get(code, 0) + 1
print(json.dumps(counts))
"""


def test_few_bytes_may_stand_for_many_numbers(tmp_path, monkeypatch) -> None:
    table = pa.table({"inputs": [[1.0] * 4] * 50_000, "label": [0] * 50_000})
    parquet.write_table(table, tmp_path / "mine.parquet")
    assert (tmp_path / "mine.parquet").stat().st_size < 20_000
    monkeypatch.setattr(heron.data.parquet_rows, "_MAX_NUMBERS", 100_000)
    with pytest.raises(DataError, match="at most 100,000 numbers, found 250,000"):
        read_rows(tmp_path / "mine.parquet", NUMBERS)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("number", rows([40, 150], [40]))
def test_mutated_files_are_read_or_refused_or_end_their_process_alone(number: int, tmp_path) -> None:
    """Codes: 0 read, 1 refused in one line, below 0 a signal; nothing else is raised."""
    path = tmp_path / "mine.parquet"
    parquet.write_table(pa.table({"inputs": [[1.0, 2, 3, 4]] * 3, "label": [0, 1, 2]}), path)
    words = [sys.executable, "-c", MUTATIONS, path, str(number)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    counts = {int(code): count for code, count in json.loads(done.stdout).items()}
    assert {0, 1} <= counts.keys()
    assert not counts.keys() & {2, 3}, counts
    assert counts[0] + counts[1] > number / 2, counts
