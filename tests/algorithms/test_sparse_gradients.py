"""Embeddings with sparse gradients train like others, on clients and servers, with every algorithm."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import heron
from heron.algorithms import ALGORITHMS
from heron.split import SplitModel, cut, linear_head

TOKENS = torch.randint(30, (40, 6), generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(TOKENS, (TOKENS.float().mean(dim=1) > 14.5).long())


def setup_module() -> None:
    torch.set_num_threads(1)


class OnClient(nn.Module):
    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(30, 8, sparse=sparse)
        self.features = nn.Linear(8, 8)
        self.logits = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(torch.relu(self.features(self.tokens(x).mean(1))))


class OnServer(nn.Module):
    """Numbers of the client's features are tokens of the server's."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.features = nn.Linear(6, 8)
        self.tokens = nn.EmbeddingBag(30, 8, sparse=sparse)
        self.logits = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.tanh(self.features(x.double()))
        return self.logits(features + self.tokens((features.detach().abs() * 29).long()))


def split(network: type[nn.Module], *, sparse: bool) -> SplitModel:
    torch.manual_seed(0)
    # In float64 the two differ by the order of sums alone.
    return cut(
        network(sparse=sparse).double(),
        after="features",
        example=TOKENS[:2],
        auxiliary=lambda shape: linear_head(shape, 2).double(),
    )


CASES = [
    *[(name, row.optimizers[-1], OnClient) for name, row in ALGORITHMS.items()],
    ("cse_fsl", "sgd", OnClient),
    ("cse_fsl", "momentum", OnClient),
    *[(name, "sgd", OnServer) for name in ("heron", "fsl_sage", "sflv1")],
]


@pytest.mark.parametrize(("algorithm", "rule", "network"), CASES)
def test_training_is_that_with_dense_gradients(algorithm: str, rule: str, network: type[nn.Module]) -> None:
    found, expected = (
        heron.train(
            split(network, sparse=sparse),
            DATA,
            algorithm=algorithm,
            clients={"total": 2},
            client={"optimizer": rule, "micro_batch": 5, "batch_size": 10},
            rounds=1,
        ).model.state_dict()
        for sparse in (True, False)
    )
    torch.testing.assert_close(dict(found), dict(expected), rtol=1e-9, atol=1e-9)
