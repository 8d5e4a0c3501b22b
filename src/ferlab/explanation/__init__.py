"""Where a model looks: attribution maps of single faces and the share of them that falls on each part of the face."""
