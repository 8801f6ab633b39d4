"""Randomness of a Main Server that trains again on uploads that it kept."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.server.main_server import MainServer
from heron.server.setup import ServerSetup
from heron.split import SplitModel
from heron.wire import SmashedData
from heron.wire.groups import Server


def test_every_visit_of_an_upload_has_a_mask_of_its_own() -> None:
    split = SplitModel(nn.Linear(4, 8), nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3)))
    server = MainServer(ServerSetup(split, cross_entropy, 0, Server("sgd", 0.1, reuse=3, buffer_size=1)))
    seeds: list[int] = []
    server.module.register_forward_pre_hook(lambda *_: seeds.append(torch.default_generator.initial_seed()))
    for local_step in range(2):
        server.receive(SmashedData(0, 0, local_step, torch.ones(5, 8), torch.zeros(5, dtype=torch.int64)))
    assert len(set(seeds)) == len(seeds) == 8
