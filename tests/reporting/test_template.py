"""The sentence on the placement of the template names directions, and the fallback."""

from ferlab.data.regions import Registration
from ferlab.reporting.template import registration_sentence


def test_registration_sentence_names_the_direction_and_the_fallback() -> None:
    said = registration_sentence(Registration(-1 / 48, 2 / 48, 0.85, 0.8, 0.731, True), 48)
    assert "1.0 px up and 2.0 px to the right" in said
    assert "85 % in height and 80 % in width" in said
    assert "not registered (correlation with the mean face 0.10)" in registration_sentence(Registration(correlation=0.1), 48)


def test_a_template_that_stays_in_place_is_not_said_to_move() -> None:
    still = registration_sentence(Registration(0.0, 1e-4, 0.9, 0.8, 0.7, True), 48)
    assert still.startswith("The template is scaled to 90 % in height")
    down = registration_sentence(Registration(2 / 48, 0.0, 0.9, 0.8, 0.7, True), 48)
    assert down.startswith("The template is moved 2.0 px down and scaled to")
