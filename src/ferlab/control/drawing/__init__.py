"""Drawing a control face: geometry, layers, light, masks."""
