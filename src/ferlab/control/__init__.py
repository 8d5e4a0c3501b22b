"""Control faces: drawn from facial action units, so that the truth about them is known.

Owns the table of action units, the drawing, its region masks and the reader. Which region carries the expression, how
strong it is, which subject, light, pose, skin tone and occluder a face has is written in its table; attribution methods,
leak detectors and slices are checked against it before they are believed on photographs. Numbers measured on control
faces say nothing about photographs and are labelled as control faces wherever they stand.

    action_units   the table: units, expressions, regions, valence and arousal
    identity       the subjects;  specs: what there is to know about a face, sampled from (seed, index)
    geometry       identity and action units -> curves;  folds: creases of the skin
    relief         height of the surface, light on it, the turned head
    raster         antialiased shapes on a layer
    features       folds, nose, mouth, brows, eyes;  adornments: hair, beard, glasses;  occluders: hand, mask, bar ...
    drawing        draw_face: one spec -> picture and masks;  colour: a face in red, green and blue light
    masks          region masks from the same geometry;  unit_masks: those of single action units
    sequences      from neutral to apex
    worlds         what decides the label: the face, one region, a planted mark, nothing;  marks: planted marks
    options          usages, overlap of subjects, label noise and duplicates
    recipe         how a set is drawn, kept in each row's source_path
    source         read: the reader
    truth          region_masks, unit_masks, carrying_mask, label_mask, shortcut_mask of a table
"""

from ferlab.control.action_units import ACTION_UNIT_REGIONS, ACTION_UNITS, COMBINATIONS, REGIONS, regions_of
from ferlab.control.drawing.picture import DrawnFace, draw_face
from ferlab.control.identity import Identity, sample_identity
from ferlab.control.source import read
from ferlab.control.specs import FaceSpec, Light, Pose, Rest, sample_spec
from ferlab.control.truth import carrying_mask, label_mask, region_masks, shortcut_mask, spec_of, unit_masks

__all__ = [
    "ACTION_UNITS",
    "ACTION_UNIT_REGIONS",
    "COMBINATIONS",
    "REGIONS",
    "DrawnFace",
    "FaceSpec",
    "Identity",
    "Light",
    "Pose",
    "Rest",
    "carrying_mask",
    "draw_face",
    "label_mask",
    "read",
    "region_masks",
    "regions_of",
    "sample_identity",
    "sample_spec",
    "shortcut_mask",
    "spec_of",
    "unit_masks",
]
