"""Classifiers of texts by the mean over their positions, for `transformers`; heron writes this file next to a model.

The library's own classes read the first position, so the types have names of their own, which load with
`trust_remote_code=True` alone. Give padded texts with their attention mask.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from transformers.modeling_outputs import SequenceClassifierOutput


class BertByMeanConfig(BertConfig):  # type: ignore[no-untyped-call]
    """Configuration of `BertByMean`."""

    model_type = "heron_bert_by_mean"


class RobertaByMeanConfig(RobertaConfig):  # type: ignore[no-untyped-call]
    """Configuration of `RobertaByMean`."""

    model_type = "heron_roberta_by_mean"


class DistilBertByMeanConfig(DistilBertConfig):  # type: ignore[no-untyped-call]
    """Configuration of `DistilBertByMean`."""

    model_type = "heron_distilbert_by_mean"


class BertByMean(BertForSequenceClassification):  # type: ignore[no-untyped-call]
    """BERT with its linear layer of classes on the mean over positions."""

    config_class = BertByMeanConfig

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Scores of the classes."""
        return _outputs(self.bert, self.classifier, input_ids, attention_mask)


class RobertaByMean(RobertaForSequenceClassification):  # type: ignore[no-untyped-call]
    """RoBERTa with its linear layer of classes on the mean over positions."""

    config_class = RobertaByMeanConfig

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Scores of the classes."""
        return _outputs(self.roberta, self.classifier.out_proj, input_ids, attention_mask)


class DistilBertByMean(DistilBertForSequenceClassification):  # type: ignore[no-untyped-call]
    """DistilBERT with its linear layer of classes on the mean over positions."""

    config_class = DistilBertByMeanConfig

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Scores of the classes."""
        return _outputs(self.distilbert, self.classifier, input_ids, attention_mask)


def _outputs(body: Any, classifier: Any, input_ids: Tensor, attention_mask: Tensor | None) -> SequenceClassifierOutput:
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    hidden = body(input_ids, attention_mask=mask).last_hidden_state
    weights = mask.to(hidden.dtype)[..., None]
    mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    return SequenceClassifierOutput(logits=classifier(mean))
