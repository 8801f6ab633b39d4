"""Cost of a step of a GPT2-Medium client: 16 x 512 tokens, cut after block 6, three auxiliary blocks, LoRA.

    python benchmarks/language_cost.py [--only NAME]

Peak live bytes with their breakdown and FLOPs by the meter of `heron plan` (equal to `heron profile e2e-gpt2-medium`),
and the resident memory of a fresh process that loads only its part (files of `heron split-model`, random weights) and
takes a step, on 1 sequence to save time: 30 MiB of smashed data less. All use micro-batches of one sequence and
the same chunked loss. Saves benchmarks/results/language_cost.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hardware import describe

from heron.algorithms import ALGORITHMS
from heron.config import plan_cost, recipe_config, use_threads_and_device
from heron.costs.client_step import ClientStep, zeros
from heron.data.folder import data_folder
from heron.lm import Adaptation, CausalLm, load_client_parts, write_parts
from heron.lm.pretrained import load_causal_lm

RECIPE = "e2e-gpt2-medium"
RESIDENT_BATCH = 1
RESULTS = Path(__file__).parent / "results" / "language_cost.json"
ROWS = {
    "heron": ("heron", ()),
    "heron, bf16 base": ("heron", ("split.base=bfloat16",)),
    "heron, int8 base": ("heron", ("split.base=int8",)),
    "heron, auxiliary exact": ("heron", ("client.exact=1",)),
    "cse_fsl": ("cse_fsl", ()),
    "cse_fsl, checkpointing": ("cse_fsl", ("client.checkpointing=true",)),
    "cse_fsl, checkpointing, bf16 base": ("cse_fsl", ("client.checkpointing=true", "split.base=bfloat16")),
    "SplitLoRA (sflv2)": ("sflv2", ()),
    "SplitLoRA (sflv2), checkpointing": ("sflv2", ("client.checkpointing=true",)),
    "frozen": ("frozen", ()),
}
IN_A_PROCESS = (
    "heron",
    "heron, bf16 base",
    "heron, int8 base",
    "cse_fsl",
    "cse_fsl, checkpointing",
    "SplitLoRA (sflv2)",
)
# Whole batch at once, as a first-order client without micro-batches would.
WHOLE = {"cse_fsl, no micro-batches": ("cse_fsl", ("client.micro_batch=0",))}


def resident_bytes(name: str, parts: Path) -> dict[str, int]:
    """Peak resident memory of a fresh process, of a step and of loading alone."""
    found = subprocess.run(
        [sys.executable, __file__, "--step", name, "--parts", str(parts)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(found.stdout.splitlines()[-1]))


def make_step(name: str, parts: Path) -> None:
    """Load a client's part, take a step and print the peaks of resident memory as JSON, all in a fresh process."""
    algorithm, settings = ROWS[name]
    config = recipe_config(RECIPE, algorithm, [*settings, f"client.batch_size={RESIDENT_BATCH}"])
    use_threads_and_device(config)
    assert isinstance(config.split, CausalLm)  # the recipe's
    with_auxiliary = ALGORITHMS[algorithm].head is not None
    part = load_client_parts(parts, Adaptation(base=config.split.base), with_auxiliary=with_auxiliary)
    loaded = _peak()
    row = ALGORITHMS[algorithm]
    runtime, learner = row.torch_client(part, config.split.criterion, config)
    batch = zeros(config.data.example, config.client.batch_size, "cpu")
    step = ClientStep(row, runtime.local, learner, batch, config)
    step()
    print(json.dumps({"loaded": loaded, "peak": _peak()}))


def _peak() -> int:
    # Not ru_maxrss: a child starts with what its parent had, and the parent has held the whole model.
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="measure this row alone, save nothing; may be repeated")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        make_step(options.step, options.parts)
        return
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        _write_random_parts(whole, parts)
        for name, (algorithm, settings) in (ROWS | WHOLE).items():
            if options.only and name not in options.only:
                continue
            cost = plan_cost(recipe_config(RECIPE, algorithm, list(settings))).to_dict()
            rows[name] = cost | {"resident": resident_bytes(name, parts) if name in IN_A_PROCESS else None}
            resident = rows[name]["resident"]
            process = "-" if resident is None else f"{resident['peak'] / 2**30:.2f} GiB"
            print(
                f"| {name} | {cost['peak_memory_bytes'] / 2**30:.2f} GiB | {cost['flops_per_step'] / 1e12:.2f} TFLOP "
                f"| {process} |",
                flush=True,
            )
    if not options.only:
        RESULTS.write_text(json.dumps({"hardware": describe(), "recipe": RECIPE, "rows": rows}, indent=1) + "\n")


def _write_random_parts(whole: Path, parts: Path) -> None:
    from transformers import GPT2Tokenizer

    split = recipe_config(RECIPE, "heron", []).split
    assert isinstance(split, CausalLm)  # the recipe's
    load_causal_lm(split.pretrained, random_weights=True).save_pretrained(whole)
    GPT2Tokenizer.from_pretrained(data_folder("gpt2-tokenizer", None)).save_pretrained(whole)
    write_parts(str(whole), parts, num_client_blocks=split.cut, num_auxiliary_blocks=split.auxiliary_blocks)


if __name__ == "__main__":
    main()
