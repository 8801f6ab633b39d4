"""A Main Server that evaluates the probes of its clients: HOSL's (arXiv 2601.10940)."""

import torch

from heron.server.main_server import MainServer
from heron.server.uploads import clean_upload
from heron.wire.messages import Answer, LossAnswer, ProbeData, Upload
from heron.zo.buffers import preserved_buffers


class LossServer(MainServer):
    """Answers uploads with their loss: evaluates probes, trains on clean smashed data.

    Args:
        setup: server part, loss and optimiser.
    """

    def answer(self, upload: Upload) -> Answer:
        """The loss of z at the present theta_s; where z is clean, one step of backpropagation follows.

        A probe changes nothing, running statistics included; Dropout masks are the same for all uploads of a step.
        """
        if isinstance(upload, ProbeData):
            smashed, labels = self._placed(upload.smashed), self._placed(upload.labels)
            with torch.no_grad(), preserved_buffers(self.module):
                loss = self._loss(smashed, labels, upload)
        else:
            self.train(clean_upload(upload))
            loss = self._losses[-1]
        return LossAnswer(upload.round_index, upload.client_id, upload.local_step, loss.float())
