"""The clients' side of a federation, without a link: the clients, their data, and a round of one of them."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from heron.algorithms import Algorithm
from heron.arrays import Array
from heron.client.attendance import Attendance, attendance
from heron.client.candidate_opening import CandidateOpener
from heron.client.mask_keeper import LocalMemory, MaskKeeper
from heron.client.masks import Masks
from heron.client.opening import Opener, TensorStore
from heron.client.progress import BEGINNING, ClientData, Progress
from heron.client.round import BeforeStep, client_round
from heron.client.runtime import Runtime
from heron.client.step import ClientLearner, ClientState
from heron.data import num_batched, num_local_steps
from heron.errors import ConfigError
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault
from heron.wire import Answer, Broadcast, FromClient, Reply
from heron.wire.groups import Settings
from heron.wire.terms import Terms
from heron.wire.walks import Replayer


@dataclass(frozen=True)
class Attended:
    """End of a client's round.

    Attributes:
        state: the client's state for its next round; empty if it dropped out.
        num_examples: number of examples it has trained on, even if it dropped out after its last step.
    """

    state: ClientState
    num_examples: int


ClientConversation = Generator[FromClient, Answer | None, Attended]


class Clients:
    """All clients whose data this process holds, at work in one resident network, one at a time.

    Args:
        terms: of the run.
        algorithm: the row that they name.
        runtime: the network that they learn in, one after the other.
        data: the examples of each client, by its id.
        vault: keeps the secret of this device; None where it has none.

    Raises:
        ConfigError: if settings need a secret and there is none that outlives a round.

    Attributes:
        terms: of the run.
        algorithm: the row of the registry.
        runtime: the network.
        learning: settings of the clients' learning.
        vault: keeps the secret of this device.
        masks: puts replies under masks, with `secure_sum`; None without.
        learner: becomes one client after the other.
    """

    def __init__(
        self,
        terms: Terms,
        algorithm: Algorithm,
        runtime: Runtime,
        data: Mapping[int, ClientData],
        vault: Vault | None = None,
    ) -> None:
        check_vault(terms.settings, has_vault=vault is not None)
        self.terms = terms
        self.algorithm = algorithm
        self.runtime = runtime
        self.vault = vault
        self.learning = replace(algorithm.learning(terms.settings), vault=vault)
        self.learner = algorithm.client(runtime, self.learning)
        self.masks: Masks | None = None
        if terms.settings.secure_sum and vault is not None:
            self.masks = Masks(terms, self.learning, MaskKeeper(self._secret_of, LocalMemory()))
        self._data = data

    def data(self, client_id: int) -> ClientData:
        """Return a client's examples."""
        return self._data[client_id]

    def _secret_of(self, client_id: int) -> Secret:
        assert self.vault is not None  # its secret may be replaced before the first round
        return self.vault.secret.of(client_id)

    def opener(self, store: TensorStore) -> Opener | None:
        """Make the opener of broadcasts, for clients whose replies hold scalars.

        Args:
            store: keeps theta from round to round.
        """
        names = self.learner.replayed()
        if not names:
            return None
        model = self.learner.model()
        theta = {name: model[name] for name in names}
        if self.learning.candidates:
            return CandidateOpener(store, theta, self.learning)
        return Opener(store, theta, Replayer(self.learning))

    def fate(self, round_index: int, client_id: int, num_steps: int) -> Attendance:
        """Draw how far a client attends a round of `num_steps` local steps.

        Args:
            round_index: t, from 0.
            client_id: i, from 0.
            num_steps: local steps of a full round.
        """
        settings = self.terms.settings
        return attendance(settings.clients, settings.seed, round_index, client_id, num_steps)

    def attend(
        self,
        broadcast: Broadcast,
        state: Mapping[str, Array],
        opener: Opener | None,
        progress: Progress = BEGINNING,
        before_step: BeforeStep = lambda _: None,
        learner: ClientLearner | None = None,
    ) -> ClientConversation:
        """Run the round of the client that a broadcast names, as far as it attends.

        Yields its uploads in order, its reply last unless it drops out; an upload is answered in coupled rounds. No
        variable here holds smashed data across a `yield`.

        Args:
            broadcast: the message that opens the round.
            state: what the client kept from its last round; its arrays become the client's.
            opener: makes the model of the broadcast where replies hold scalars.
            progress: the round's state so far, as of `client_round`.
            before_step: called before each local step, as of `client_round`.
            learner: in place of the resident one, which it wraps.

        Returns:
            A generator of the client's messages, see `ClientConversation`.
        """
        broadcast = broadcast if self.masks is None else self.masks.opened(broadcast)
        client_id, settings = broadcast.client_id, self.terms.settings
        data, batch_size = self.data(client_id), settings.client.batch_size
        joins = self.terms.joins(len(data))
        num_steps = num_local_steps(len(data), batch_size, settings.client.local_steps or None, joins=joins)
        fate = self.fate(broadcast.round_index, client_id, num_steps)
        steps = client_round(
            learner or self.learner,
            self.terms,
            broadcast,
            state,
            data,
            max_steps=fate.max_steps,
            opener=opener,
            progress=progress,
            before_step=before_step,
            vault=self.vault,
        )
        del broadcast, state  # the client alone keeps them, and may free them
        num_examples = 0
        answer: Answer | None = None
        while True:
            try:
                parcel = [steps.send(answer)]
            except StopIteration as stop:
                return Attended(stop.value, num_examples)
            if isinstance(parcel[0], Reply):
                num_examples = num_trained(self.terms, len(data), parcel[0].num_steps)
                if not fate.replies:
                    return Attended({}, num_examples)
                parcel = parcel if self.masks is None else [self.masks.covered(parcel[0])]
            answer = yield parcel.pop()


def num_trained(terms: Terms, num_examples: int, num_steps: int) -> int:
    """Count the examples in the steps of a round; the expected number where batches are nobody's business.

    Args:
        terms: of the run.
        num_examples: n of the client.
        num_steps: number of steps.
    """
    settings = terms.settings
    if settings.hides_numbers:
        return num_steps * settings.client.batch_size
    joins = terms.joins(num_examples)
    return num_batched(num_examples, settings.client.batch_size, num_steps, joins=joins)


def check_vault(settings: Settings, *, has_vault: bool) -> None:
    """Refuse settings that need a secret where there is none.

    Args:
        settings: of the run.
        has_vault: whether there is a place for the secret.

    Raises:
        ConfigError: naming the key.
    """
    if has_vault or not settings.needs_secret:
        return
    raise ConfigError("expected a vault for clients that draw from a secret, found none; give them one")
