from equipoise.encoder import Encoder
from equipoise.testing.discovery import classes, targets
from equipoise.testing.encoder_laws import EncoderLaws


class TestEncoders(EncoderLaws):
    pass


def test_every_encoder_of_the_room_can_be_chosen_by_a_yaml() -> None:
    assert classes("encoder", Encoder) == targets("encoder")
