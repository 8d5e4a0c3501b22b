"""The attribution methods by name, without their code: what each is called, whether its maps have a sign, what it needs, who published it.

Pages read this table without loading torch; `ferlab.explanation.attributions` computes the maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """An attribution method.

    Attributes:
        title: As pages print it.
        signed: Whether a map has negative values: pixels that speak against the explained class. Otherwise all values are >= 0.
        needs_layer: Whether it explains a layer's feature map.
        unit: What the values are measured in: the class's logit, its change per unit of a pixel, or the class's probability.
        source: Author and year.
    """

    title: str
    signed: bool
    needs_layer: bool
    unit: Literal["logit", "logit per pixel value", "probability"]
    source: str


PER_PIXEL = "logit per pixel value"
METHODS: Mapping[str, Method] = {
    "grad_cam": Method("Grad-CAM", signed=False, needs_layer=True, unit="logit", source="Selvaraju et al., 2017"),
    "grad_cam_pp": Method("Grad-CAM++", signed=False, needs_layer=True, unit="logit", source="Chattopadhay et al., 2018"),
    "hires_cam": Method("HiResCAM", signed=False, needs_layer=True, unit="logit", source="Draelos & Carin, 2020"),
    "layer_cam": Method("LayerCAM", signed=False, needs_layer=True, unit="logit", source="Jiang et al., 2021"),
    "guided_grad_cam": Method("guided Grad-CAM", signed=True, needs_layer=True, unit=PER_PIXEL, source="Selvaraju et al., 2017"),
    "gradients": Method("gradients", signed=False, needs_layer=False, unit=PER_PIXEL, source="Simonyan et al., 2013"),
    "smooth_grad": Method("SmoothGrad", signed=False, needs_layer=False, unit=PER_PIXEL, source="Smilkov et al., 2017"),
    "integrated_gradients": Method("integrated gradients", signed=True, needs_layer=False, unit="logit", source="Sundararajan et al., 2017"),
    "occlusion": Method("occlusion", signed=True, needs_layer=False, unit="probability", source="Zeiler & Fergus, 2014"),
    "rise": Method("RISE", signed=True, needs_layer=False, unit="probability", source="Petsiuk et al., 2018"),
    "xrai": Method("XRAI", signed=True, needs_layer=False, unit="logit", source="Kapishnikov et al., 2019"),
}
