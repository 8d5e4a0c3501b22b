"""Where the template of regions lies on the faces of a dataset, in a sentence."""

from __future__ import annotations

from ferlab.data.regions import Registration
from ferlab.reporting.tables import number, percent
from ferlab.roles import listed


def registration_sentence(registration: Registration, size: int) -> str:
    """Report the placement of the template on the mean face of `size` pixels."""
    correlation = number(registration.correlation, digits=2)
    if not registration.found:
        return f"The template is not registered (correlation with the mean face {correlation}); masses per region are unreliable here."
    sides = ((registration.shift_y * size, "down", "up"), (registration.shift_x * size, "to the right", "to the left"))
    shifts = [f"{number(abs(shift))} px {ahead if shift > 0 else back}" for shift, ahead, back in sides if number(abs(shift)) != "0.0"]
    moved = f"moved {listed(shifts)} and " if shifts else ""
    scales = f"{percent(registration.scale_y, digits=0)} in height and {percent(registration.scale_x, digits=0)} in width"
    return f"The template is {moved}scaled to {scales}; its correlation with the mean face is {correlation}."
