"""Consent to the collection of faces: the text that a person agrees to, the record of the agreement, and the pseudonym that stands for the person.

A text has a version and a checksum; the record names both, and the text itself is kept beside the faces. A changed text needs a new version: what
was agreed to stays readable. People are known by drawn pseudonyms alone; names are neither asked for nor accepted.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
from collections.abc import Collection as Names
from dataclasses import dataclass

from ferlab.paths import InputError

VERSION = "1"
TEXT = """\
What is stored. For each face that you choose to store: the picture of the face with a margin of half its width around it, without loss; where the
face lies in it; the expression that you name; what the model predicted; how bright the picture is and how the head is turned; the time; and what you
were asked to show. No name, no address, no sound, no video, and nothing of a picture that you discard.

Where. In a folder on this machine, which is shown below. Only the owner of this account can read it. Nothing is sent to another machine.

What for. "Research": to train and to test models of facial expression recognition on this machine, and to count how often they are right.
"Publication": your faces may be shown in a paper, a talk or on a web page. You may agree to the first and not to the second.

Your pseudonym. You are known by a pseudonym that is drawn at random, such as p-7k3q. Keep it: with it you can come back, or withdraw. There is no
list of names and pseudonyms, so without it nobody can find your faces.

How to withdraw. At any time and without a reason: by the button "Withdraw and erase" of this page, or later by telling your pseudonym to whoever
runs this workspace, who runs `ferlab forget` with it. Your pictures, their rows and all that was computed from them in this workspace are erased;
the pseudonym and the two dates stay, as the record that you withdrew.

What withdrawal cannot undo. A model that was trained on your faces and was copied elsewhere, a page that was published, or a copy on another machine.

It is voluntary. Not taking part has no disadvantage, and you may stop after any picture. You must be of age.
"""
SCOPES = ("research", "publication")
EXAMPLE = "p-7k3q"  # of the texts: never drawn
LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # without 0 and o, 1, i and l, which are read as each other
PERSON, LABELLER = "p", "l"
FORM = re.compile(rf"[{PERSON}{LABELLER}]-[{LETTERS}]{{4,6}}")


def consent_version(text: str = TEXT, version: str = VERSION) -> str:
    """Return the version of a text with the first 16 digits of its sha256, such as `1-90ab...`."""
    return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Agreement:
    """What a person ticked. Nothing is ticked beforehand.

    Attributes:
        adult: The person declares to be of age.
        research: Faces may be used to train and test models here.
        publication: Faces may be shown in print.
    """

    adult: bool = False
    research: bool = False
    publication: bool = False

    @property
    def missing(self) -> str:
        """What keeps faces from being stored, in one line; "" if nothing does."""
        if not self.adult:
            return "Faces of people who are not of age cannot be stored here. Tick that you are of age, or leave the page: nothing was stored."
        if not self.research:
            return "Without consent to research nothing can be stored. Tick it, or leave the page: nothing was stored."
        return ""

    def record(self, person: str, *, day: datetime.date | None = None) -> dict[str, str]:
        """Return the row of consent.csv.

        Raises:
            InputError: If something is missing.
        """
        if self.missing:
            raise InputError(self.missing)
        scope = "; ".join(scope for scope in SCOPES if getattr(self, scope))
        row = {"person": person, "consent": "yes", "date": (day or today()).isoformat(), "scope": scope}
        return {**row, "signed_by": "", "note": "", "withdrawn": "", "adult": "yes", "consent_version": consent_version()}


def today() -> datetime.date:
    """Return the day in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def draw_pseudonym(known: Names[str], *, kind: str = PERSON) -> str:
    """Draw a pseudonym that nobody has or had: `p-` for people whose faces are stored, `l-` for those who only label."""
    for length in (4, 5, 6):
        for _ in range(1000):
            drawn = f"{kind}-{''.join(secrets.choice(LETTERS) for _ in range(length))}"
            if drawn not in known and drawn != EXAMPLE:
                return drawn
    raise InputError("no pseudonym is free; start a collection in another folder")


def check_pseudonym(text: str) -> str:
    """Return a typed pseudonym in its plain form.

    Raises:
        InputError: If it is none, as a name is; what was typed is not repeated, since messages may be kept.
    """
    plain = text.strip().lower()
    if not FORM.fullmatch(plain):
        raise InputError("That is no pseudonym: expected the one that was drawn for you, such as p-7k3q. Never type a name here.")
    return plain
