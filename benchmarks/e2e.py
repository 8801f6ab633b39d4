"""Fine-tuning a language model from clients that cannot hold its gradients: gpt2-mini on E2E NLG, 3 clients.

    python benchmarks/e2e.py [--runs FOLDER] [--workers 2]

Perplexity of 500 dev rows against rounds and traffic, for HERON-SFL as published, with its order boundary, SplitLoRA,
CSE-FSL and the frozen client, three seeds; the size of the auxiliary network, one seed; BLEU and ROUGE-L on 100
distinct test prompts, one seed. Runs are resumable run directories below the folder. Needs the data and the model
next to it (`HERON_DATA`). Saves benchmarks/results/e2e.json and docs/figures/e2e.png.
"""

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from hardware import describe

from heron.analysis import PERPLEXITY, standard_error, text_scores
from heron.config import build_run, fingerprint, profile_cost, recipe_config
from heron.data import load_e2e_prompts
from heron.lm import CausalLm, continuations, load_tokenizer, whole_model
from heron.report import plot_learning_curves
from heron.runs.run_directory import read_json, write_json

RECIPE = "e2e-gpt2-mini"
RESULTS = Path(__file__).parent / "results" / "e2e.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "e2e.png"
SETTINGS = ("threads=1", "rounds=4", "evaluation_period=2")
SEEDS = (0, 1, 2)
NUM_PROMPTS = 100
Case = tuple[str, str, tuple[str, ...], tuple[int, ...]]
ARMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "frozen": ("frozen", ()),
    "heron, as published": ("heron", ()),
    "cse_fsl": ("cse_fsl", ()),
    "SplitLoRA (sflv2)": ("sflv2", ()),
    "heron, auxiliary exact": ("heron", ("client.exact=1",)),
}
# One auxiliary block is the recipe's, among the arms.
ABLATION = {f"heron, {blocks} auxiliary blocks": blocks for blocks in (0, 2)}


def finished_run(name: str, algorithm: str, settings: tuple[str, ...], seed: int, folder: Path) -> dict[str, Any]:
    """Metrics by round, and for seed 0 the generated texts; computed once."""
    config = recipe_config(RECIPE, algorithm, [*SETTINGS, *settings, f"seed={seed}"])
    path = folder / f"{name}-seed{seed}.json"
    if path.exists() and (saved := dict(read_json(path))).get("fingerprint") == fingerprint(config):
        return saved
    run = build_run(config, folder / f"{name}-seed{seed}")
    run.restore()
    outcome: dict[str, Any] = {
        "arm": name,
        "seed": seed,
        "fingerprint": fingerprint(config),
        "metrics": run.train(),
    }
    if seed == 0:
        assert isinstance(config.split, CausalLm)  # the recipe's
        outcome |= _generation(run.federation.load_global_model(), config.split.pretrained)
    write_json(path, outcome)
    print(f"{name} seed {seed}: {outcome['metrics'][-1]['test_perplexity']:.1f}", flush=True)
    return outcome


def _generation(split: Any, pretrained: str) -> dict[str, Any]:
    prompts = load_e2e_prompts("test", NUM_PROMPTS)
    tokenizer = load_tokenizer(pretrained, split.whole.config.vocab_size)
    texts = continuations(whole_model(split), tokenizer, [prompt.text for prompt in prompts])
    scores = text_scores(texts, [prompt.references for prompt in prompts])
    return {"bleu": scores.bleu, "rouge_l": scores.rouge_l, "examples": texts[:3]}


def _row(name: str, algorithm: str, settings: tuple[str, ...], runs: list[dict[str, Any]]) -> dict[str, Any]:
    last = [run["metrics"][-1] for run in runs]
    config = recipe_config(RECIPE, algorithm, [*SETTINGS, *settings])
    return {
        "arm": name,
        "algorithm": algorithm,
        "settings": settings,
        "validation_perplexity": statistics.fmean(row["validation_perplexity"] for row in last),
        "validation_standard_error": standard_error([row["validation_perplexity"] for row in last]),
        "test_perplexity": statistics.fmean(row["test_perplexity"] for row in last),
        "test_standard_error": standard_error([row["test_perplexity"] for row in last]),
        "uplink_bytes": last[0]["uplink_bytes"],
        "downlink_bytes": last[0]["downlink_bytes"],
        "bleu": runs[0]["bleu"],
        "rouge_l": runs[0]["rouge_l"],
        "examples": runs[0]["examples"],
        "cost": profile_cost(config).to_dict(),
        "curves": [
            [
                {key: row[key] for key in ("round", "validation_perplexity", "uplink_bytes", "downlink_bytes")}
                for row in run["metrics"]
                if "validation_perplexity" in row
            ]
            for run in runs
        ],
    }


def main() -> None:
    """Finish the runs, print a table, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/e2e"), help="default runs/e2e")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time; default 2")
    options = parser.parse_args()
    cases: list[Case] = [(name, *arm, SEEDS) for name, arm in ARMS.items()]
    cases += [(name, "heron", (f"split.auxiliary_blocks={blocks}",), SEEDS[:1]) for name, blocks in ABLATION.items()]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = {
            name: [pool.submit(finished_run, name, algorithm, settings, seed, options.runs) for seed in seeds]
            for name, algorithm, settings, seeds in cases
        }
        runs = {name: [future.result() for future in futures] for name, futures in pending.items()}
    rows = [_row(name, algorithm, settings, runs[name]) for name, algorithm, settings, _ in cases]
    curves = {name: [run["metrics"] for run in runs[name]] for name in ARMS}
    plot_learning_curves(curves, FIGURE)
    print("| arm | dev perplexity | test perplexity | BLEU | ROUGE-L | client MiB | GFLOP a step | uplink MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        values = [
            PERPLEXITY.text(row[f"{split}_perplexity"], row[f"{split}_standard_error"])
            for split in ("validation", "test")
        ]
        cost = row["cost"]
        print(
            f"| {row['arm']} | {values[0]} | {values[1]} | {row['bleu']:.1f} | {row['rouge_l']:.3f} "
            f"| {cost['peak_memory_bytes'] / 2**20:.1f} | {cost['flops_per_step'] / 1e9:.1f} "
            f"| {row['uplink_bytes'] / 2**20:.1f} |"
        )
    RESULTS.write_text(json.dumps({"hardware": describe(), "recipe": RECIPE, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
