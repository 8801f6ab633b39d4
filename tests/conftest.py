"""One thread a test process: `pytest -n auto` starts one process per core already."""

import os

import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
torch.set_num_threads(1)
