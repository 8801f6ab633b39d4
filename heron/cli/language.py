"""`heron split-model` and `heron generate`: divide language models, generate text with trained ones."""

import sys
from pathlib import Path
from typing import Any

from heron.analysis import text_scores
from heron.cli.export import tokenizer_of, trained_model, written_whole
from heron.config.run_files import read_config
from heron.data import load_e2e_prompts
from heron.errors import ConfigError
from heron.lm import CausalLmSplit, continuations, whole_model, write_parts
from heron.runs.run_directory import write_json

# Number of continuations that are printed; the JSON file contains all.
_SHOWN = 3


def split_model_command(source: str, cut: int, auxiliary_blocks: int, out: Path) -> None:
    """Write the parts of a pre-trained model; on failure nothing is written."""
    with written_whole(out) as aside:
        manifest = write_parts(source, aside, num_client_blocks=cut, num_auxiliary_blocks=auxiliary_blocks)
    sizes = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in manifest["bytes"].items())
    sys.stdout.write(f"{out}: {sizes}\n")


def generate_command(run: Path, num_prompts: int, json_path: Path | None) -> None:
    """Generate descriptions of test meaning representations with a run's model, and score them."""
    if num_prompts < 1:
        raise ConfigError(f"expected --prompts of at least 1, found {num_prompts}; raise it")
    split, tokenizer = _trained(run)
    prompts = load_e2e_prompts("test", num_prompts)
    texts = continuations(whole_model(split), tokenizer, [prompt.text for prompt in prompts])
    pairs = list(zip(prompts, texts, strict=True))
    scores = text_scores(texts, [prompt.references for prompt in prompts])
    result = {
        "run": str(run),
        "prompts": len(prompts),
        "bleu": scores.bleu,
        "rouge_l": scores.rouge_l,
        "texts": [{"prompt": prompt.text, "text": text} for prompt, text in pairs],
    }
    if json_path is not None:
        write_json(json_path, result)
    for prompt, text in pairs[:_SHOWN]:
        sys.stdout.write(f"{prompt.text}\n    {text}\n")
    sys.stdout.write(f"BLEU {scores.bleu:.1f}, ROUGE-L {scores.rouge_l:.3f} on {len(prompts)} prompts\n")


def _trained(directory: Path) -> tuple[CausalLmSplit, Any]:
    """A run's cut language model with its latest global parameters, and the tokenizer."""
    config = read_config(directory)
    if config.split.predicts != "tokens":
        raise ConfigError(
            f"expected the run of a language model in {directory}, found one of {config.split.model}; name another run"
        )
    split, _ = trained_model(directory, config)
    assert isinstance(split, CausalLmSplit)  # the configuration builds no other model
    return split, tokenizer_of(config, split)
