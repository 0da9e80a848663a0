"""An encoder of events and a pretext in one plain module: what pretraining trains."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from equipoise.contract.packed import segment_mean
from equipoise.contract.tensors import Rewound
from equipoise.encoder import Encoder
from equipoise.network import Losses, Trained
from equipoise.pretext import Pretext


@final
class PretextNetwork(Trained):
    """Rows at earlier moments of their own -> likelihood of what came after, by way of the mean of the tokens that a model would get from them then.

    A moment that a row goes back to becomes its prediction time: its events are cut off there and their times counted from there. So any encoder of events
    serves as it is, what it learns is its own tokens, and nothing later can reach them. The usual way, a causal mask and a state after every event in one
    pass, gives more states for the same work, but here times are days before the prediction: such a state would see, and be blurred by, how far away the
    end of its record lies.

    Args:
        encoder: of events.
        pretext: foretells from its tokens.
    """

    def __init__(self, encoder: Encoder, pretext: Pretext) -> None:
        super().__init__()
        self.encoder, self.pretext = encoder, pretext

    @property
    def train_draws(self) -> int:
        return 1

    def encode(self, batch: Rewound) -> Tensor:
        """z f32 (B, D)."""
        tokens = self.encoder(batch.part)
        return segment_mean(tokens.h, tokens.offsets)

    def forward(self, batch: Rewound) -> Tensor:
        """Negative log likelihood (B,), nats."""
        nll: Tensor = self.pretext(self.encode(batch), batch.future)
        return nll

    def loss(self, batch: Rewound, *, n_train: int, n_draws: int, seed: int, beta: float) -> Losses:
        """Mean negative log likelihood + penalties / n_train; nothing is drawn."""
        nll, penalty = self(batch).mean(), self.encoder.penalty() + self.pretext.penalty()
        return Losses(nll + penalty / n_train, {"pretext": nll}, nll.new_zeros(()), penalty)

    def parts(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "head": self.pretext}
