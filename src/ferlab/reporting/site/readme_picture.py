"""README's picture: what the model that ships predicts for a photograph and for a control face, with its maps and the face's truth.

    python -m ferlab.reporting.site.readme_picture     writes docs/first_look.png anew (`make docs`)

The photograph is in the public domain and comes with matplotlib; the control face is drawn. Both are fixed, not chosen by what is predicted.
"""

from __future__ import annotations

import io
from itertools import count
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import get_sample_data
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ferlab.colours import COLOURS
from ferlab.control import draw_face as draw_control_face
from ferlab.control import regions_of, sample_spec
from ferlab.deployment.as_torch import load_exported
from ferlab.deployment.face_search import read_picture
from ferlab.deployment.predictor import SHIPPED, Predictor
from ferlab.explanation.attributions import explain_faces
from ferlab.paths import ROOT, write_whole
from ferlab.reporting.faces import draw_face, lit
from ferlab.reporting.maps import draw_map, relative_values, top_density
from ferlab.reporting.style import use_style
from ferlab.reporting.tables import percent

PICTURE = Path("docs", "first_look.png")
METHOD = "occlusion"
EXPRESSION, STRONG = "happy", 4  # of the control face: the first one of seed 0 that is drawn so strongly and uncovered


def first_look() -> Figure:
    """Return the figure: a photograph and its face above, a control face below, each with its probabilities and its map."""
    use_style()
    predictor = Predictor.load()
    photograph = read_picture(get_sample_data("grace_hopper.jpg", asfileobj=False))
    found = predictor.read_image(photograph).faces[0]
    specs = (sample_spec(0, index, expression=EXPRESSION) for index in count())
    spec = next(spec for spec in specs if spec.intensity >= STRONG and spec.occluder == "none")
    drawn = draw_control_face(spec, predictor.size)
    (own,) = predictor.read_image(drawn.image, whole=True).faces
    faces = np.concatenate([_stored(predictor, photograph, found.box), drawn.image[None]])
    maps = _maps(faces, np.array([found.probs.argmax(), own.probs.argmax()]))
    truth = np.any([drawn.masks[region] for region in regions_of(spec.action_units)], axis=0)
    figure, axes = plt.subplots(2, 4, figsize=(8.6, 4.5), width_ratios=(1, 1, 1.3, 1), layout="constrained")
    draw_face(axes[0, 0], photograph, title="a photograph")
    x, y, width, height = found.box
    axes[0, 0].add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=COLOURS[found.likeliest(1)[0]], linewidth=2))
    draw_face(axes[1, 0], drawn.image, title=f"a control face: {spec.expression}")
    draw_face(axes[0, 1], faces[0], title="what the model sees")
    draw_face(axes[1, 1], lit(drawn.image, truth), title="where the expression is drawn")
    for row, face in enumerate((found, own)):
        _draw_probabilities(axes[row, 2], face.expressions, face.probs)
        draw_map(axes[row, 3], faces[row], maps[row], top=top_density({METHOD: maps}, range(2)))
        axes[row, 3].set_title(f"{METHOD} map of {face.likeliest(1)[0]}", fontsize=9, fontweight="normal", pad=3)
    return figure


def _stored(predictor: Predictor, picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the face in a box as the model's prepared faces are stored, uint8 (1, S, S)."""
    return np.rint(255 * predictor.prepare_boxes(picture, [box])[:, 0]).astype(np.uint8)


def _maps(faces: np.ndarray, explained_class: np.ndarray) -> np.ndarray:
    return relative_values(explain_faces(load_exported(SHIPPED), faces, explained_class=explained_class, methods=[METHOD])[METHOD])


def _draw_probabilities(axes: Axes, expressions: tuple[str, ...], probs: np.ndarray) -> None:
    """Draw a bar for each expression, in the order of the model."""
    bars = axes.barh(expressions, probs, color=[COLOURS[name] for name in expressions])
    axes.bar_label(bars, [percent(value, digits=0) for value in probs], fontsize=8, padding=2)
    axes.set(xlim=(0, 1.18), xticks=[])
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=9, length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title("prediction of the model that ships", fontsize=9, fontweight="normal", pad=3)


def picture_bytes() -> bytes:
    """Return the figure as PNG."""
    figure, content = first_look(), io.BytesIO()
    figure.savefig(content, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return content.getvalue()


def main() -> int:
    """Write the picture."""
    write_whole(ROOT / PICTURE, picture_bytes())
    print(PICTURE.as_posix())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
