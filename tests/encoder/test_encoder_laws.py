from typing import Any

from equipoise.encoder import Encoder
from equipoise.testing.discovery import classes, options, targets
from equipoise.testing.encoder_laws import EncoderLaws


class TestEncoders(EncoderLaws):
    pass


class TestRotaryTransformer(EncoderLaws):
    """A choice of the transformer that its yaml does not make."""

    @classmethod
    def options(cls) -> dict[str, dict[str, Any]]:
        return {"transformer, rotary": {**options("encoder")["transformer"], "time": "rotary"}}


def test_every_encoder_of_the_room_can_be_chosen_by_a_yaml() -> None:
    assert classes("encoder", Encoder) == targets("encoder")
