"""`heron split-model`, `heron export` and `heron generate`: language models into parts, and back into one."""

import shutil
import sys
from pathlib import Path
from typing import Any

from heron.analysis import text_scores
from heron.cli.run_files import read_config, refuse_occupied
from heron.config import build_run
from heron.config.schema import CausalLmConfig
from heron.data import load_e2e_prompts
from heron.engines import RunDirectory, write_json
from heron.errors import ConfigError
from heron.lm import CausalLmSplit, continuations, load_tokenizer, save_whole, whole_model, write_parts

_SHOWN = 3


def split_model_command(source: str, cut: int, auxiliary_blocks: int, out: Path) -> None:
    """Write the parts of a pre-trained model, or nothing."""
    refuse_occupied(out)
    aside = _aside(out)
    try:
        manifest = write_parts(source, aside, num_client_blocks=cut, num_auxiliary_blocks=auxiliary_blocks)
        _put(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sizes = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in manifest["bytes"].items())
    sys.stdout.write(f"{out}: {sizes}\n")


def export_command(run: Path, out: Path) -> None:
    """Write the model a run has trained as a directory of `transformers`, or nothing."""
    refuse_occupied(out)
    split, tokenizer = _trained(run)
    aside = _aside(out)
    try:
        save_whole(split, tokenizer, aside)
        _put(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sys.stdout.write(f"{out}\n")


def generate_command(run: Path, num_prompts: int, json_path: Path | None) -> None:
    """Let a run's model describe test meaning representations, and score what it writes."""
    if num_prompts < 1:
        raise ConfigError(f"expected --prompts of at least 1, found {num_prompts}")
    split, tokenizer = _trained(run)
    prompts = load_e2e_prompts("test", num_prompts)
    texts = continuations(whole_model(split), tokenizer, [prompt.text for prompt in prompts])
    scores = text_scores(texts, [prompt.references for prompt in prompts])
    result = {
        "run": str(run),
        "prompts": len(prompts),
        "bleu": scores.bleu,
        "rouge_l": scores.rouge_l,
        "texts": [{"prompt": prompt.text, "text": text} for prompt, text in zip(prompts, texts, strict=True)],
    }
    if json_path is not None:
        write_json(json_path, result)
    for prompt, text in list(zip(prompts, texts, strict=True))[:_SHOWN]:
        sys.stdout.write(f"{prompt.text}\n    {text}\n")
    sys.stdout.write(f"BLEU {scores.bleu:.1f}, ROUGE-L {scores.rouge_l:.3f} on {len(prompts)} prompts\n")


def _trained(directory: Path) -> tuple[CausalLmSplit, Any]:
    """A run's cut model with its latest global parameters in place, and the tokenizer."""
    config = read_config(directory)
    if not isinstance(config.split, CausalLmConfig):
        raise ConfigError(f"expected the run of a language model in {directory}, found one of {config.split.model}")
    if not RunDirectory(directory).checkpoint.exists():
        raise ConfigError(f"expected a run with at least one finished round in {directory}, found no checkpoint")
    run = build_run(config, directory)
    run.restore()
    split = run.federation.load_global_model()
    assert isinstance(split, CausalLmSplit)  # what such a configuration builds
    return split, load_tokenizer(config.split.pretrained, split.whole.config.vocab_size)


def _aside(out: Path) -> Path:
    """Where a directory is written before it is complete."""
    return out.with_name(f"{out.name}.tmp")


def _put(aside: Path, out: Path) -> None:
    if out.is_dir():
        out.rmdir()  # empty, else it would have been refused
    aside.replace(out)
