"""Labels and parts of a dataset as words: names of folders and cells of lists. Known spellings match, whatever their case, numbers and blanks.

A word that other datasets or languages use for an expression (joy, scared, calm) or that is near to a known one (hapy) does not match: it is a hint,
which the user confirms.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import PurePosixPath

from ferlab.paths import InputError

SYNONYMS: dict[str, tuple[str, ...]] = {
    "angry": ("angry", "anger"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid"),
    "happy": ("happy", "happiness"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised"),
    "neutral": ("neutral", "neutrality"),
    "contempt": ("contempt", "contemptuous"),
}
HINTS: dict[str, str] = {  # words of other datasets and languages
    "angry": "mad annoyed furious rage irritated wut wütend ärger zorn zornig colère fâché enfadado enojado enojo ira rabia "
    "arrabbiato rabbia raiva bravo zangado boos woede kızgın öfke злость гнев злой 愤怒 生气 憤怒 怒り 분노 화남",
    "disgust": "disgusting disgusts ekel angeekelt dégoût dégoûté asco disgusto disgustato nojo aversão walging iğrenme tiksinme "
    "отвращение 厌恶 厭惡 嫌悪 혐오",
    "fear": "scared scary scare frightened terrified terror angst furcht ängstlich peur effrayé miedo temor paura spavento medo "
    "bang korku страх испуг 恐惧 恐懼 害怕 恐怖 恐れ 공포 두려움",
    "happy": "joy joyful smile smiling laugh laughing amused amusement delighted glad freude froh fröhlich glücklich joie heureux "
    "feliz felicidad alegría alegre alegria felicidade felice gioia felicità blij vrolijk mutlu mutluluk радость счастье "
    "高兴 高興 开心 快乐 喜び 幸せ 행복 기쁨",
    "sad": "sorrow unhappy crying depressed grief trauer traurig traurigkeit tristesse triste tristeza tristezza verdrietig "
    "verdriet üzgün üzüntü грусть печаль 悲伤 悲傷 伤心 悲しみ 슬픔",
    "surprise": "amazed astonished shocked astonishment überrascht überraschung erstaunt surpris sorpresa sorprendido sorpreso "
    "surpreso surpresa verrast verbaasd şaşkın şaşırma удивление 惊讶 驚訝 惊喜 吃惊 驚き 놀람",
    "neutral": "calm natural normal noemotion relaxed serious neutrale neutre neutro neutraal ruhig nötr doğal нейтральное "
    "нейтральный спокойствие 中性 平静 自然 中立 真顔 중립 무표정",
    "contempt": "scorn disdain verachtung mépris desprecio disprezzo desprezo minachting küçümseme презрение 轻蔑 蔑视 輕蔑 軽蔑 경멸",
}
PARTS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "fit", "fitting"),
    "validation": ("validation", "valid", "val", "validate", "validating", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
    "PublicTest": ("publictest",),
    "PrivateTest": ("privatetest",),
}
EITHER: dict[str, tuple[str, str]] = {  # what a word means, and what it means where another part is that already
    **dict.fromkeys(("eval", "evaluation"), ("validation", "test")),
    **dict.fromkeys(("holdout", "heldout"), ("test", "validation")),
}
# Around such words: train_set, Train-images, fer2013_test, rafdbTrainFaces.
FILLERS = (
    "set", "data", "dataset", "sets", "image", "images", "img", "imgs", "pic", "pics", "picture", "pictures",
    "photo", "photos", "face", "faces", "aligned", "cropped", "label", "labels", "labelled", "list", "split",
    "splits", "folder", "part", "subset", "sample", "samples", "official", "original", "kaggle", "fer", "ferplus",
    "raf", "rafdb", "db", "basic", "affectnet", "ck", "jaffe", "expw", "kdef", "sfew", "afew", "the", "my", "of",
    "only", "final", "new",
)  # fmt: skip
NEAR = 0.8  # of difflib's ratio: "hapy" is 0.89 to "happy", "bored" is 0.44 to the nearest
_EXPRESSION_OF = {word: expression for expression, words in SYNONYMS.items() for word in words}
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_PART_OF = {word: part for part, words in PARTS.items() for word in words} | {word: word for word in EITHER}


def match_expression(word: str) -> str | None:
    """Return the expression that a word names, or None: `match_expression("0 Anger")` is "angry"."""
    return _EXPRESSION_OF.get(_plain(word))


def near_expression(word: str) -> str | None:
    """Return the expression that a word which matches none may mean, or None: "happy" for "hapy" and "joy"."""
    plain = _plain(word)
    hint = _hints().get(_bare(re.sub(r"[\s_.-]+", "", plain)))
    if hint:
        return hint
    near = difflib.get_close_matches(plain, list(_EXPRESSION_OF), n=1, cutoff=NEAR)
    return _EXPRESSION_OF[near[0]] if near else None


def read_label(word: str, *, where: str, way: str) -> str:
    """Return the expression that a label names, or the reason why its faces are excluded.

    Raises:
        InputError: If the label is near to an expression, or a word that others use for one; `where` and `way` go into the message.
    """
    near = None if match_expression(word) else near_expression(word)
    if near:
        raise InputError(f"{where}: {word!r} is no expression (did you mean {near!r}?); {way}")
    return match_expression(word) or (f"label {word!r} is none of ours" if word else "no label")


@cache
def _hints() -> dict[str, str]:
    """The words of `HINTS` without accents, German ones also with ue for ü."""
    words = [(word, expression) for expression, listed in HINTS.items() for word in listed.split()]
    return {form: expression for word, expression in words for form in (_bare(word), _bare(word.translate(_UMLAUTS)))}


def _bare(word: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKD", word) if not unicodedata.combining(character))


@cache
def match_part(word: str) -> str | None:
    """Return the part of a dataset that a folder's name states, or None.

    Returns:
        A key of `PARTS`, or of `EITHER`, which `settle_part` settles.

    >>> match_part("train_set"), match_part("FER2013Test"), match_part("Train-images"), match_part("anna")
    ('train', 'test', 'train', None)
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word.strip())
    tokens = [_stripped(token) for token in re.findall(r"[^\W\d_]+", apart.casefold())]
    return _PART_OF.get("".join(token for token in tokens if token))


def settle_part(part: str | None, present: Iterable[str | None]) -> str:
    """Return the part that a result of `match_part` means beside the others that are present; "" for None."""
    if part in EITHER:
        first, second = EITHER[part]
        return second if first in set(present) else first
    return part or ""


def near_part(word: str) -> str | None:
    """Return the part that a name which matches none may mean, or None: "test" for "tets"."""
    plain = "".join(_stripped(token) for token in re.findall(r"[^\W\d_]+", word.casefold()))
    near = difflib.get_close_matches(plain, list(_PART_OF), n=1, cutoff=0.7)
    return settle_part(_PART_OF[near[0]], ()) if near else None


def part_of(folder: PurePosixPath) -> str | None:
    """Return the part that the nearest folder at or above states, as `match_part` does."""
    return next((part for at in (folder, *folder.parents) if (part := match_part(at.name))), None)


def _stripped(token: str) -> str:
    """Return a word without the fillers it begins or ends with, "" if it is made of them: "trainset" is "train"."""
    while token not in _PART_OF:
        filler = max((word for word in FILLERS if token.startswith(word) or token.endswith(word)), key=len, default=None)
        if filler is None:
            break
        token = token.removeprefix(filler) if token.startswith(filler) else token.removesuffix(filler)
    return token if len(token) > 1 else ""  # the x of 48x48, the A of testA


def _plain(word: str) -> str:
    """Lower case, composed accents, without a leading number and blanks around: "0 Angry" and "3_angry" are "angry"."""
    return re.sub(r"^\d+[\s_.-]*(?=\D)", "", unicodedata.normalize("NFC", word).strip()).strip().casefold()
