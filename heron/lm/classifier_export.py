"""A trained classifier of texts as a directory of `transformers`."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from heron.lm.adaptation import merge_lora_
from heron.lm.classifier import ClassifierSplit
from heron.lm.pretrained_classifier import pad_of
from heron.lm.quiet import quiet_transformers
from heron.lm.widening import store_wide_

_CODE = Path(__file__).with_name("mean_pooling.py")
_BY_MEAN = {"bert": "BertByMean", "roberta": "RobertaByMean", "distilbert": "DistilBertByMean"}


def whole_classifier(split: ClassifierSplit) -> Any:
    """Rebuild the fine-tuned model: LoRA merged into float32 weights, every part in its place.

    Args:
        split: the cut model with its global parameters; not changed.

    Returns:
        A model of `transformers`, in evaluation mode, that shares nothing with `split`. It is of the library's own
        class, which pools as `split` does unless that is by the mean.
    """
    model = copy.deepcopy(split.whole)
    store_wide_(model)
    merge_lora_(model)
    model.config.pad_token_id = pad_of(model.config)
    model.config.problem_type = "single_label_classification"
    return model.requires_grad_(False).eval()


def save_classifier(split: ClassifierSplit, tokenizer: Any, directory: Path) -> None:
    """Write the whole model as a directory that `AutoModelForSequenceClassification.from_pretrained` loads.

    A model that pools by the mean has its class beside it, a short file, and loads with `trust_remote_code=True` alone:
    the library has no such class, and its own would read the first position.

    Args:
        split: the cut model with its global parameters.
        tokenizer: saved together with the model; one that pads with another token gets the model's.
        directory: target directory; files of the same names are replaced.
    """
    model = whole_classifier(split).cpu()
    if tokenizer.pad_token_id != model.config.pad_token_id:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
    with quiet_transformers():
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
    if split.pooling == "mean":
        _name_class(directory, _BY_MEAN[model.config.model_type])


def _name_class(directory: Path, name: str) -> None:
    """Put the class of a model that pools by the mean beside it, and name it and its type in the configuration."""
    from heron.lm import mean_pooling

    shutil.copyfile(_CODE, directory / _CODE.name)
    path = directory / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values |= {
        "model_type": getattr(mean_pooling, f"{name}Config").model_type,
        "architectures": [name],
        "auto_map": {
            "AutoConfig": f"{_CODE.stem}.{name}Config",
            "AutoModelForSequenceClassification": f"{_CODE.stem}.{name}",
        },
    }
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
