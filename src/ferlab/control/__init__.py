"""Control faces: drawn from facial action units, so that the truth about them is known.

A face's table states which regions carry the expression, how strongly, which subject, light, pose, skin tone and occluder it has;
attribution methods, leak detectors and slices are checked against it. Numbers on control faces say nothing about photographs.

    action_units   the table: units, expressions, regions, valence and arousal
    specs          what there is to know about a face and its subject, sampled from (seed, index)
    worlds         what decides the label: the face, one region, a planted mark, nothing
    recipe         how a set is drawn, sequences included; kept in each row's source_path
    options        usages, overlap of subjects and label noise
    source, layouts   the reader; faces as files in the layout of a dataset
    truth          masks of a table's faces: regions, action units, ground-truth pixels of the expression and of the label
    drawing/       geometry, layers, features, overlays, colour, picture (draw_face), masks
"""

from ferlab.control.action_units import ACTION_UNIT_REGIONS, ACTION_UNITS, COMBINATIONS, REGIONS, regions_of
from ferlab.control.drawing.picture import DrawnFace, draw_face
from ferlab.control.source import read
from ferlab.control.specs import FaceSpec, Identity, Light, Pose, Rest, sample_identity, sample_spec
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
